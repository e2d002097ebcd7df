#!/bin/sh
# Copies the newest dump to object storage, where nothing that is there is changed, and compares it with what is there then.
set -eu
newest=$(ls -1 "$BACKUPS" | sort | tail -n 1)
rclone copy --immutable "$BACKUPS/$newest" "$REMOTE/$newest"
rclone check "$BACKUPS/$newest" "$REMOTE/$newest"
echo "uploaded $REMOTE/$newest"
