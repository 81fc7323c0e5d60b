# shellcheck shell=bash
# The scheduler of a framework: its files, its unit, and that Mesos knows it.
#
# Reads: FRAMEWORK_NAME FRAMEWORK_COMMAND (bash) FRAMEWORK_ENVIRONMENT (lines for systemd)
#        FRAMEWORK_USER FRAMEWORK_ROLE FRAMEWORK_URIS (lines: sha256 url) FRAMEWORK_CPU_QUOTA
#        FRAMEWORK_MEMORY_MB FRAMEWORK_API (a Python program, see operator_api.py)
#        FRAMEWORK_MASTERS (host:port,host:port) FRAMEWORK_MESOS_NAME

UNIT=framework-$FRAMEWORK_NAME
PLACE=$DATA/frameworks/$FRAMEWORK_NAME
FILES=$ETC/frameworks

script() {
  cat <<END
#!/bin/bash
set -euo pipefail
$FRAMEWORK_COMMAND
END
}

unit() {
  cat <<END
[Unit]
Description=Mesos framework $FRAMEWORK_NAME
After=network-online.target mesos-master.service
StartLimitIntervalSec=0

[Service]
User=$FRAMEWORK_USER
WorkingDirectory=$PLACE
EnvironmentFile=$FILES/$FRAMEWORK_NAME.env
ExecStart=$FILES/$FRAMEWORK_NAME.sh
Restart=always
RestartSec=5
CPUQuota=$FRAMEWORK_CPU_QUOTA
MemoryMax=${FRAMEWORK_MEMORY_MB}M
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=$PLACE

[Install]
WantedBy=multi-user.target
END
}

# fetch SHA256 URL: the file in the framework's directory; what is an archive is unpacked.
fetch() {
  local sha256=$1 url=$2 file=${2##*/} new
  local mark=$PLACE/.fetched/$sha256-$file
  if [[ -e $mark ]]; then return; fi
  new=$(mktemp "$PLACE/.fetched/new.XXXXXX")
  curl --silent --show-error --fail --location --retry 3 --max-time 600 --output "$new" "$url" ||
    fail "cannot download $url"
  if [[ $(sha256sum "$new") != "$sha256 "* ]]; then
    rm -f "$new"
    fail "$url is not what it was: its sha256 is not $sha256"
  fi
  chmod 0755 "$new"
  case $file in
    *.tar | *.tar.* | *.tgz) tar --extract --no-same-owner --file "$new" --directory "$PLACE" ;;
    *.zip) python3 -m zipfile --extract "$new" "$PLACE" ;;
    *) cp "$new" "$PLACE/$file" ;;
  esac
  rm -f "$new"
  touch "$mark"
  note "fetched $file"
}

registered() {
  python3 -c "$FRAMEWORK_API" "$FRAMEWORK_MASTERS" registered "$FRAMEWORK_MESOS_NAME" \
    "$FRAMEWORK_ROLE"
}

up() {
  local sha256 url
  if ! getent passwd "$FRAMEWORK_USER" >/dev/null; then ensure_user "$FRAMEWORK_USER"; fi
  ensure_directory "$DATA/frameworks" 0755 root
  ensure_directory "$PLACE" 0750 "$FRAMEWORK_USER"
  ensure_directory "$PLACE/.fetched" 0755 root
  while read -r sha256 url; do
    if [[ $url ]]; then fetch "$sha256" "$url"; fi
  done <<<"$FRAMEWORK_URIS"
  write_file "$FILES/$FRAMEWORK_NAME.sh" 0755 root "$(script)"
  write_file "$FILES/$FRAMEWORK_NAME.env" 0600 root "$FRAMEWORK_ENVIRONMENT"
  ensure_unit "$UNIT" "$(unit)"
  if ! try_until 90 registered; then
    journalctl --unit "$UNIT" --lines 20 --no-pager --output cat >&2 || true
    fail "$UNIT has not registered after 90 s: $(registered 2>&1)"
  fi
}

down() {
  remove_unit "$UNIT"
  rm -rf "$PLACE" "$FILES/$FRAMEWORK_NAME.sh" "$FILES/$FRAMEWORK_NAME.env"
}

main "$@"
