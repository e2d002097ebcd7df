#!/bin/sh
# Copies a dump from object storage to where `restore.sh` looks: the one that DUMP names, else the newest.
set -eu
dump=${DUMP:-$(rclone lsf --dirs-only "$REMOTE" | sort | tail -n 1)}
dump=${dump%/}
rclone copy "$REMOTE/$dump" "$BACKUPS/$dump"
rclone check "$REMOTE/$dump" "$BACKUPS/$dump"
echo "downloaded $REMOTE/$dump"
