-- Always true, even in flight: inventory.quantity = sum(inventory_transactions.quantity_change) per item.

CREATE TABLE inventory (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_id text NOT NULL UNIQUE CHECK (length(item_id) BETWEEN 1 AND 100),
    item_name text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    reserved_quantity bigint NOT NULL DEFAULT 0 CHECK (reserved_quantity >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE inventory_transactions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_id text NOT NULL REFERENCES inventory (item_id),
    order_id uuid,
    quantity_change bigint NOT NULL,
    transaction_type text NOT NULL CHECK (transaction_type IN ('seed', 'restock', 'deduct', 'release')),
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT takes_or_gives CHECK ((transaction_type = 'deduct') = (quantity_change < 0) AND quantity_change <> 0),
    CONSTRAINT taken_for_an_order CHECK (transaction_type NOT IN ('deduct', 'release') OR order_id IS NOT NULL)
);

-- One deduction per order, whatever else fails. Its first column also serves every look-up by order.
CREATE UNIQUE INDEX one_transaction_per_order_and_type
    ON inventory_transactions (order_id, transaction_type) WHERE order_id IS NOT NULL;

CREATE UNIQUE INDEX one_restock_per_key
    ON inventory_transactions (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- A refusal is an outcome like a deduction, and as final: without it, a first attempt that the network held back
-- could still deduct after a later attempt was refused, the order settled as failed, and the item restocked.
CREATE TABLE refusals (
    order_id uuid PRIMARY KEY,
    item_id text NOT NULL,
    quantity bigint NOT NULL,
    reason text NOT NULL CHECK (reason IN ('insufficient-stock', 'unknown-item')),
    available bigint,
    created_at timestamptz NOT NULL DEFAULT now()
);
