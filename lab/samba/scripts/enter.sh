#!/bin/sh
# Show this mount namespace, which must be private, the lab's configuration in
# place of the machine's, then run the command. Arguments: the lab's folder,
# then the command.
set -eu
lab=$1
shift
for d in /run /var/lib/samba /var/cache/samba /var/log/samba; do
	[ ! -d "$d" ] || mount -t tmpfs -o mode=0755 lab "$d"
done
mkdir -p /run/samba /run/lock
for f in resolv.conf hosts nsswitch.conf; do
	at=$(readlink -m "/etc/$f")
	case $at in
	/run/*) mkdir -p "${at%/*}" && : >"$at" ;; # a link into what was just hidden
	esac
	[ -e "$at" ] || {
		echo "/etc/$f does not exist on this machine: a lab lays its own over it" >&2
		exit 1
	}
	mount --bind "$lab/etc/$f" "$at"
done
exec "$@"
