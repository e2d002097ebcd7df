-- The W3C trace context that an order came with: whoever works for it later goes on with the same trace.
ALTER TABLE orders ADD COLUMN traceparent text;
