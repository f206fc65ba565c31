-- +goose Up

-- What plans intend and what became of it: the entries of a journal are numbered from 1
-- without a gap. body is the entry (JSON); it holds no password.
CREATE TABLE journal_entries (
	journal TEXT   NOT NULL,
	number  BIGINT NOT NULL,
	body    BYTEA  NOT NULL,
	PRIMARY KEY (journal, number)
);
