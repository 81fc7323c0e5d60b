# shellcheck shell=bash
# The work that is compared: a directory, three files, a link.
#
# Reads: SAME_ROOT (instead of /, since the hosts share this machine's files)

# shellcheck disable=SC2034 # common.sh reads them
ETC=$SAME_ROOT STARTED=$SAME_ROOT/started

up() {
  local name
  ensure_directory "$SAME_ROOT/conf" 0755 root
  for name in one two three; do
    write_file "$SAME_ROOT/conf/$name" 0644 root "setting of $name"
  done
  link conf/one "$SAME_ROOT/current"
}

down() {
  rm -rf "$SAME_ROOT"
}

main "$@"
