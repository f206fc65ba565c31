-- +goose Up

-- What is known of those who use leastwise. kind is session, token, factor, ceremony,
-- code, attempt, once or administrator; body (JSON) is what the kind says. Secrets are
-- not in it: of sessions, tokens and codes there are hashes, of second factors public
-- keys and secrets sealed with a key that is not in the database. expires is when a row
-- may be forgotten, microseconds since 1970; the greatest number: never.
CREATE TABLE operator_records (
	kind     TEXT   NOT NULL,
	id       TEXT   NOT NULL,
	account  TEXT   NOT NULL, -- objectGUID, empty for nobody's
	expires  BIGINT NOT NULL,
	revision BIGINT NOT NULL,
	body     BYTEA  NOT NULL,
	PRIMARY KEY (kind, id)
);
CREATE INDEX operator_records_account ON operator_records (kind, account, id);
CREATE INDEX operator_records_expires ON operator_records (kind, expires);
