-- Which platform this is. It is restored with the orders, so a client's journal is held against the orders it is about.
CREATE TABLE platform_identity (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO platform_identity DEFAULT VALUES;
