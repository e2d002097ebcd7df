-- Orders: one row per idempotency key. The row is also the queue: there is no other.
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL UNIQUE,
    item_id text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    status text NOT NULL CHECK (status IN ('pending', 'queued', 'confirmed', 'failed', 'dead')),
    idempotency_key text NOT NULL UNIQUE,
    fingerprint bytea NOT NULL,
    reason text,
    attempts integer NOT NULL,
    next_attempt_at timestamptz,
    lease_until timestamptz,
    lease_token bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX orders_status ON orders (status, id);

-- What the sweeper and the backlog look at: unfinished orders only, so it stays small.
CREATE INDEX orders_unfinished ON orders (next_attempt_at) WHERE status IN ('pending', 'queued');

-- Each transition an order went through, and why. Never updated, never deleted.
CREATE TABLE order_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    "from" text,
    "to" text NOT NULL,
    detail jsonb NOT NULL
);

CREATE INDEX order_events_order ON order_events (order_id, id);
