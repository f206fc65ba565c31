-- +goose Up

-- One row for each entry of the audit log. body is what is hashed; the columns
-- before it repeat parts of it to search by, and verification compares them.
-- hashes holds 32 bytes for the record and for each subtree that it completes.
CREATE TABLE audit_entries (
	id      BIGINT NOT NULL PRIMARY KEY,
	at      BIGINT NOT NULL,
	phase   TEXT   NOT NULL,
	action  TEXT   NOT NULL,
	actor   TEXT   NOT NULL,
	target  TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	record  TEXT   NOT NULL,
	request TEXT   NOT NULL,
	answers BIGINT NOT NULL,
	body    BYTEA  NOT NULL,
	hashes  BYTEA  NOT NULL
);
CREATE INDEX audit_entries_at      ON audit_entries (at);
CREATE INDEX audit_entries_target  ON audit_entries (target);
CREATE INDEX audit_entries_subject ON audit_entries (subject);
CREATE INDEX audit_entries_record  ON audit_entries (record);
CREATE INDEX audit_entries_request ON audit_entries (request);
CREATE INDEX audit_entries_answers ON audit_entries (answers);

-- How many entries there are: the one row that transactions that append lock.
CREATE TABLE audit_head (
	id   BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
	size BIGINT NOT NULL
);
INSERT INTO audit_head (id, size) VALUES (1, 0);

-- Signed notes about the first size entries.
CREATE TABLE audit_checkpoints (
	size BIGINT NOT NULL PRIMARY KEY,
	at   BIGINT NOT NULL,
	note TEXT   NOT NULL
);

-- Who in leastwise manages an object or a pair of objects, and the generation of
-- the latest action on it: what is older is stale.
CREATE TABLE fences (
	kind       TEXT   NOT NULL,
	object     TEXT   NOT NULL,
	other      TEXT   NOT NULL,
	manager    TEXT   NOT NULL,
	generation BIGINT NOT NULL,
	PRIMARY KEY (kind, object, other)
);
