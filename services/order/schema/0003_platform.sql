-- The secret by which the order service signs what it keeps outside of this database. The auditor reads the schema
-- `public` only, and nobody but the owner reads this one.
CREATE SCHEMA private;

CREATE TABLE private.platform (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    secret text NOT NULL CHECK (length(secret) >= 64)
);

INSERT INTO private.platform (secret)
VALUES (replace(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
