-- Deduct all of some lines in one trip, each a new order that can be served; or change nothing and return no row.
-- Returns what each item has left then.
--
-- Each statement of a volatile function has a snapshot of its own, so all that follows the first one sees what earlier
-- holders of the locks committed. The locks are taken in the order of item_id, so two batches cannot wait for each other.
CREATE FUNCTION deduct_all(lines json) RETURNS TABLE (item text, remaining bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    items text[];
    orders uuid[];
    quantities bigint[];
BEGIN
    SELECT array_agg(line.item_id), array_agg(line.order_id), array_agg(line.quantity) INTO items, orders, quantities
    FROM json_to_recordset(lines) AS line (item_id text, order_id uuid, quantity bigint);

    PERFORM FROM inventory WHERE item_id = ANY(items) ORDER BY item_id FOR NO KEY UPDATE;

    IF EXISTS (SELECT FROM refusals WHERE order_id = ANY(orders))
    OR EXISTS (SELECT FROM inventory_transactions WHERE order_id = ANY(orders) AND transaction_type = 'deduct')
    OR EXISTS (
        SELECT FROM (
            SELECT line.item_id, sum(line.quantity) AS quantity
            FROM unnest(items, quantities) AS line (item_id, quantity) GROUP BY line.item_id
        ) AS wanted LEFT JOIN inventory USING (item_id)
        WHERE inventory.item_id IS NULL OR inventory.quantity < wanted.quantity
    ) THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH deducted AS (
        INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
        SELECT line.item_id, line.order_id, -line.quantity, 'deduct'
        FROM unnest(items, orders, quantities) AS line (item_id, order_id, quantity)
        RETURNING inventory_transactions.item_id, quantity_change
    )
    UPDATE inventory SET quantity = inventory.quantity + change.total, updated_at = now()
    FROM (SELECT item_id, sum(quantity_change) AS total FROM deducted GROUP BY item_id) AS change
    WHERE inventory.item_id = change.item_id
    RETURNING inventory.item_id, inventory.quantity;
END
$$;
