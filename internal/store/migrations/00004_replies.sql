-- +goose Up

-- Results of requests that carried an idempotency key, for a day. account is who chose
-- the key; request is the SHA-256 of method, path and body; status is 0 until the
-- request has ended. Times are microseconds since 1970.
CREATE TABLE replies (
	account     TEXT   NOT NULL,
	request_key TEXT   NOT NULL,
	request     BYTEA  NOT NULL,
	at          BIGINT NOT NULL,
	status      BIGINT NOT NULL,
	type        TEXT   NOT NULL,
	body        BYTEA  NOT NULL,
	PRIMARY KEY (account, request_key)
);
CREATE INDEX replies_at ON replies (at);
