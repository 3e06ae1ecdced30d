#!/bin/sh
# Made by ingot: starts the Tomcat of the image with a directory of this process's own.
set -eu
base=$RUNTIME_DIRECTORY
disk=$CACHE_DIRECTORY
home=
for candidate in "${CATALINA_HOME:-}" $(ls -d /usr/share/tomcat[0-9]* 2>/dev/null | sort -Vr) /usr/share/tomcat /opt/tomcat; do
  if [ -r "$candidate/bin/catalina.sh" ]; then home=$candidate; break; fi
done
if [ -z "$home" ]; then
  echo "no Tomcat: neither CATALINA_HOME, /usr/share/tomcat* nor /opt/tomcat has bin/catalina.sh" >&2
  exit 1
fi
mkdir -p "$base/conf"
for name in logs temp webapps work; do
  # The power may have failed while it ran.
  rm -rf "${disk:?}/$name"
  mkdir "$disk/$name"
  ln -sfn "$disk/$name" "$base/$name"
done
cp @DIRECTORY@/server.xml "$base/conf/server.xml"
settings() {
  for directory in "$home/conf" "$home/etc" "/etc/${home##*/}"; do
    if [ -r "$directory/$1" ]; then cat "$directory/$1"; return; fi
  done
}
settings web.xml > "$base/conf/web.xml"
(
  umask 077
  {
    settings catalina.properties
    echo
    INGOT_RELEASE=$PWD LC_ALL=C awk 'BEGIN {
      for (byte = 128; byte < 256; byte++) high[sprintf("%c", byte)] = byte
      for (name in ENVIRON) if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/) {
        value = ENVIRON[name]; line = (name == "INGOT_RELEASE" ? "ingot.release" : name) "="
        for (at = 1; at <= length(value); at++) {
          character = substr(value, at, 1)
          if (character in high) {
            # UTF-8, which a file of properties holds as numbers.
            code = high[character]
            more = code >= 240 ? 3 : code >= 224 ? 2 : 1
            code -= more == 3 ? 240 : more == 2 ? 224 : 192
            while (more-- > 0) code = code * 64 + high[substr(value, ++at, 1)] - 128
            if (code > 65535) {
              code -= 65536
              line = line sprintf("\\u%04x\\u%04x", 55296 + int(code / 1024), 56320 + code % 1024)
            } else line = line sprintf("\\u%04x", code)
          }
          else if (character == "\\") line = line "\\\\"
          else if (character == "\n") line = line "\\n"
          else if (character == "\r") line = line "\\r"
          else if (character == "\t") line = line "\\t"
          else if (character == " " && at == 1) line = line "\\ "
          else line = line character
        }
        print line
      }
      print "ingot.port=" ENVIRON["PORT"]
    }'
  } > "$base/conf/catalina.properties"
)
@COPY@
export CATALINA_HOME="$home" CATALINA_BASE="$base" CATALINA_TMPDIR="$base/temp"
exec /bin/sh "$home/bin/catalina.sh" run
