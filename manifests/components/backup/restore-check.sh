#!/bin/sh
# Restores the newest dump into a server that nobody else sees, and compares: what is in stock is what its ledger sums up to,
# and each confirmed order has its deduction. Ends with an error where anything is otherwise.
set -eu
newest="$BACKUPS/$(ls -1 "$BACKUPS" | sort | tail -n 1)"
export PGDATA="$SCRATCH/data" PGHOST="$SCRATCH" PGUSER=postgres
unset PGPASSWORD
rm -rf "$PGDATA"
initdb --username=postgres --auth=trust --no-sync --no-instructions >/dev/null
pg_ctl start --wait --silent --log="$SCRATCH/log" -o "-c listen_addresses= -c unix_socket_directories=$SCRATCH -c fsync=off"
trap 'pg_ctl stop --mode=immediate --silent' EXIT
for database in order_db inventory_db; do
    createdb "$database"
    pg_restore --no-owner --no-privileges --exit-on-error --dbname="$database" "$newest/$database.dump"
done
ask() {
    psql --no-psqlrc --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$1" --command="$2"
}
wrong=$(ask inventory_db "
    SELECT count(*) FROM inventory AS item WHERE quantity <>
        (SELECT COALESCE(sum(quantity_change), 0) FROM inventory_transactions WHERE item_id = item.item_id)")
ask order_db "SELECT order_id FROM orders WHERE status = 'confirmed' ORDER BY order_id" >"$SCRATCH/confirmed"
ask inventory_db "SELECT order_id FROM inventory_transactions WHERE transaction_type = 'deduct' ORDER BY order_id" >"$SCRATCH/deducted"
missing=$(comm -23 "$SCRATCH/confirmed" "$SCRATCH/deducted" | wc -l)
echo "restored $newest: $(wc -l <"$SCRATCH/confirmed") confirmed orders, $missing without a deduction, $wrong items with a wrong stock"
[ "$wrong" -eq 0 ] && [ "$missing" -eq 0 ]
