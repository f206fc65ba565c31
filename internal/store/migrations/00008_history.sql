-- +goose Up

-- The controls that a run evaluated, as JSON; [] where nobody noted them.
ALTER TABLE runs ADD COLUMN controls TEXT NOT NULL DEFAULT '[]';

-- What kind of object a finding is about.
ALTER TABLE run_findings ADD COLUMN kind TEXT NOT NULL DEFAULT '';

-- Work that is done from time to time by one node of several. Times are microseconds
-- since 1970, 0 for none. done is through when it is done: the next turn is the first
-- after that; nothing is tried before retry, nor before lease, which the node that is at
-- work moves on. Whoever begins takes the next generation, and what is of an older one is
-- stale. tried is the end of the last try; failures counts those since the last success.
CREATE TABLE schedules (
	name       TEXT   NOT NULL PRIMARY KEY,
	generation BIGINT NOT NULL,
	done       BIGINT NOT NULL,
	retry      BIGINT NOT NULL,
	lease      BIGINT NOT NULL,
	node       TEXT   NOT NULL,
	began      BIGINT NOT NULL,
	tried      BIGINT NOT NULL,
	succeeded  BIGINT NOT NULL,
	failures   BIGINT NOT NULL,
	fault      TEXT   NOT NULL,
	result     TEXT   NOT NULL
);
