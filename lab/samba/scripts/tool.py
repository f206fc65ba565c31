"""Run samba-tool with the credentials that the environment names (USER,
PASSWD_FILE), so that the password stands in no argument list. samba-tool reads
neither by itself."""
import os
import sys

from samba.netcmd.main import cmd_sambatool

args = sys.argv[1:]
with open(os.environ["PASSWD_FILE"]) as f:
    args += ["--username=" + os.environ["USER"], "--password=" + f.read().strip()]
cmd = cmd_sambatool()
try:
    code = cmd._run("samba-tool", *args)
except SystemExit as e:
    code = e.code
except Exception as e:  # as /usr/bin/samba-tool does
    cmd.show_command_error(e)
    code = 1
sys.exit(code)
