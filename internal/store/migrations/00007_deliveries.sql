-- +goose Up

-- Messages to people that are to be sent, one row for each target and recipient; those
-- that were delivered are gone. Times are microseconds since 1970; due is when the next
-- try is made, or when the one that is being made counts as lost. dead is 1 after the
-- last try. body is the message (JSON).
CREATE TABLE deliveries (
	id        TEXT   NOT NULL PRIMARY KEY,
	target    TEXT   NOT NULL,
	recipient TEXT   NOT NULL,
	created   BIGINT NOT NULL,
	due       BIGINT NOT NULL,
	attempts  BIGINT NOT NULL,
	dead      BIGINT NOT NULL,
	fault     TEXT   NOT NULL,
	body      BYTEA  NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (target, dead, due);
