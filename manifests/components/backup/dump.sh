#!/bin/sh
# Dumps both databases into a directory named for the moment, and keeps the newest KEEP of those.
#
# Orders first: what they call confirmed was deducted before the second dump begins, so no deduction is missing from it.
set -eu
now=$(date -u +%Y-%m-%dT%H-%M-%SZ)
unfinished="$BACKUPS/.unfinished"
rm -rf "$unfinished"
mkdir -p "$unfinished"
PGPASSWORD=$ORDER_PASSWORD pg_dump --username=order_service --format=custom --file="$unfinished/order_db.dump" order_db
PGPASSWORD=$INVENTORY_PASSWORD pg_dump --username=inventory_service --format=custom --file="$unfinished/inventory_db.dump" inventory_db
mv "$unfinished" "$BACKUPS/$now"
echo "dumped $BACKUPS/$now: $(du -sh "$BACKUPS/$now" | cut -f1)"
ls -1 "$BACKUPS" | sort -r | tail -n "+$((KEEP + 1))" | while read -r old; do
    rm -rf "${BACKUPS:?}/$old"
    echo "removed $old"
done
