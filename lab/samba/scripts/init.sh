#!/bin/sh
# The first process of one lab host, alone with its children in a process and a
# mount namespace. Arguments: the lab's folder, the host's folder, its role.
# When this process ends, the kernel ends everything else in the namespace.
# Descriptor 3, where it is open, is the leash: the host ends when it closes.
set -eu
lab=$1 host=$2 role=$3

"$lab/enter.sh" "$lab" true # sets up the mounts of this namespace
conf=$host/etc/smb.conf
if [ "$role" = member ]; then
	winbindd -F --no-process-group -s "$conf" </dev/null 3<&- &
	smbd -F --no-process-group -s "$conf" </dev/null 3<&- &
else
	samba -F --no-process-group -s "$conf" </dev/null 3<&- &
fi
main=$!
trap 'kill -TERM -1' TERM
if [ "${LAB_LEASH:-}" = 1 ]; then
	(cat <&3 >/dev/null; kill -KILL -1) &
fi
wait "$main" || wait "$main" || true
