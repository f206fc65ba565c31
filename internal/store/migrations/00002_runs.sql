-- +goose Up

-- One row for each assessment that was kept. summary and coverage are JSON.
CREATE TABLE runs (
	id       TEXT   NOT NULL PRIMARY KEY,
	kept     BIGINT NOT NULL,
	started  BIGINT NOT NULL,
	finished BIGINT NOT NULL,
	forest   TEXT   NOT NULL,
	tool     TEXT   NOT NULL,
	source   TEXT   NOT NULL,
	pass     BIGINT NOT NULL,
	fail     BIGINT NOT NULL,
	unknown  BIGINT NOT NULL,
	excepted BIGINT NOT NULL,
	summary  TEXT   NOT NULL,
	coverage TEXT   NOT NULL
);
CREATE INDEX runs_forest ON runs (forest, finished);

-- The members of each privileged group, counted; reasons why a count may be too
-- small are in unknown, as JSON.
CREATE TABLE run_populations (
	run       TEXT   NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	sid       TEXT   NOT NULL,
	name      TEXT   NOT NULL,
	domain    TEXT   NOT NULL,
	direct    BIGINT NOT NULL,
	effective BIGINT NOT NULL,
	standing  BIGINT NOT NULL,
	temporary BIGINT NOT NULL,
	unknown   TEXT   NOT NULL,
	PRIMARY KEY (run, sid)
);

-- Every finding, as JSON, with what trends count by. finding tells findings of one
-- control apart in the same way in every run.
CREATE TABLE run_findings (
	run      TEXT   NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	finding  TEXT   NOT NULL,
	control  TEXT   NOT NULL,
	severity TEXT   NOT NULL,
	outcome  TEXT   NOT NULL,
	accepted BIGINT NOT NULL,
	body     TEXT   NOT NULL,
	PRIMARY KEY (run, finding)
);
CREATE INDEX run_findings_finding ON run_findings (finding);
