-- +goose Up

-- One row for each grant, for ever. body is the whole grant (JSON); the columns
-- before it repeat what is searched by. Times are microseconds since 1970; wake and
-- wake_dc hold the greatest number where there is nothing to wait for. wake is by the
-- server's clock, wake_dc by the domain controllers'. intent is the index of the audit
-- entry that announced the present write, 0 for none.
CREATE TABLE grants (
	id         TEXT   NOT NULL PRIMARY KEY,
	generation BIGINT NOT NULL,
	state      TEXT   NOT NULL,
	policy     TEXT   NOT NULL,
	requester  TEXT   NOT NULL,
	holder     TEXT   NOT NULL,
	group_guid TEXT   NOT NULL,
	requested  BIGINT NOT NULL,
	wake       BIGINT NOT NULL,
	wake_dc    BIGINT NOT NULL,
	intent     BIGINT NOT NULL,
	body       BYTEA  NOT NULL
);
CREATE INDEX grants_wake       ON grants (wake);
CREATE INDEX grants_wake_dc    ON grants (wake_dc);
CREATE INDEX grants_membership ON grants (group_guid, holder);
CREATE INDEX grants_holder     ON grants (holder);
CREATE INDEX grants_requester  ON grants (requester);
CREATE INDEX grants_requested  ON grants (requested, id);

-- What is known of a membership across its grants.
CREATE TABLE grant_holdings (
	group_guid TEXT   NOT NULL,
	member     TEXT   NOT NULL,
	revision   BIGINT NOT NULL,
	kept       BIGINT NOT NULL, -- 1: a grant made it, or its object is gone for now
	watch      BIGINT NOT NULL, -- until when it is watched; 0: not
	body       BYTEA  NOT NULL,
	PRIMARY KEY (group_guid, member)
);
CREATE INDEX grant_holdings_watch ON grant_holdings (watch);
CREATE INDEX grant_holdings_kept  ON grant_holdings (kept);

-- Messages that are owed to people, in their order.
CREATE TABLE grant_notices (
	id   BIGINT NOT NULL PRIMARY KEY,
	at   BIGINT NOT NULL,
	body BYTEA  NOT NULL
);
