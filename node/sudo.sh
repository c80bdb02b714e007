#!/bin/sh
# You are this machine's owner: sudo asks nothing. Options for other users and for files are not known here.
shell=
while :; do
  case "$1" in
    -n|-E|-H|-S|-k|-b|-A|--preserve-env*|--non-interactive) shift ;;
    -nE|-En|-nH|-HE|-EH) shift ;;
    -i|-s|-su|--login|--shell) shell=1; shift ;;
    -u|-g|--user|--group)
      [ "$2" = root ] || { echo "sudo: only root is here to become, not $2" >&2; exit 1; }
      shift 2 ;;
    -v|-V|--version|--validate|-l|--list) echo "sudo: everything is allowed here"; exit 0 ;;
    --) shift; break ;;
    -*) echo "sudo: the option $1 is not known here" >&2; exit 1 ;;
    *=*) export "$1"; shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || shell=1
[ -z "$shell" ] || { [ $# -gt 0 ] && set -- -c "$*"; set -- /bin/bash "$@"; }
export HOME=/root USER=root LOGNAME=root SUDO_USER=lambda SUDO_UID=1000 SUDO_GID=1000
exec @BECOME@ "$@"
