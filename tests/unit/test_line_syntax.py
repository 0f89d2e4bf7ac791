import pytest

from indexer.parsers.code.line_syntax import cuts

MYSQL = r"""-- A dump.

SET NAMES utf8;

--
-- Table `films`
--

DROP TABLE IF EXISTS `films`;
CREATE TABLE `films` (
  `title` varchar(9) DEFAULT 'a;b'
);
LOCK TABLES `films` WRITE;
INSERT INTO `films` VALUES (1,'It''s'),
(2,'B\'s');
INSERT INTO `films` VALUES (3,'');
UNLOCK TABLES;

DELIMITER $$
CREATE DEFINER=`root`@`localhost` PROCEDURE `grade`(IN f INT)
BEGIN
  CREATE TEMPORARY TABLE t (a INT);
CREATE TEMPORARY TABLE u (a INT);

  IF f > 3 THEN
UPDATE films SET title = 'z';
END IF;
END$$
DELIMITER ;
SELECT 1;
"""
POSTGRES = r"""CREATE OR REPLACE FUNCTION
  public.total(a int) RETURNS int AS $body$
BEGIN
  SELECT '$$';

CREATE TABLE "not this" (a int);
END;
$body$ LANGUAGE plpgsql;
COMMENT ON FUNCTION public.total(int) IS 'The sum
of all';
GRANT SELECT ON other TO bob;

/* CREATE TABLE
CREATE TABLE gone ();
*/
CREATE MATERIALIZED VIEW IF NOT EXISTS "Big One" AS
SELECT 1; -- one
COPY public.films (id) FROM stdin;
CREATE TABLE row ();
\.

CREATE UNIQUE INDEX ON films (id);
ALTER TABLE ONLY public.films ADD PRIMARY KEY (id);
"""
TRANSACT = """USE Shop
GO
CREATE TABLE [dbo].[Orders] (Id int)
CREATE OR ALTER PROC dbo.CloseOrder @Id int
AS
BEGIN
SET NOCOUNT ON;
UPDATE dbo.Orders SET Id = 0;
END
GO
EXEC dbo.CloseOrder 3
"""
ORACLE = """CREATE OR REPLACE PACKAGE BODY pay IS
  x NUMBER;
PROCEDURE run IS
BEGIN
  x := 1;
END run;
/
SELECT 1 FROM dual;
"""
MAKE = """# What is made.
CC ?= gcc
URL := http://a:80
.PHONY: all
# Makes all.
all: a b ## all of it
\techo a: b

define recipe
not: this
endef

ifeq ($(A:.c=.o),x)
%.o $(OUT:.a=.b): %.c | dir
\tcc $< \\
also: not
endif
vpath %.c src:lib
.c.o :: x
"""
DOCKER = """# syntax=docker/dockerfile:1
ARG V=3

# Builds
# wheels.
FROM --platform=$P python:$V AS build
RUN a && \\
    # and
    b \\

FROM c
RUN python <<EOF
FROM os import path
EOF
RUN echo <<<FROM

FROM debian
from scratch
"""


def found(language, source):
    """Names, each with the first line that is not empty."""
    pieces = list(cuts(language, source.encode()))
    assert "".join(source.encode()[piece.start : piece.end].decode() for piece in pieces) == source
    return [(piece.name, source.encode()[piece.start : piece.end].decode().split("\n")[0]) for piece in pieces]


@pytest.mark.parametrize(
    ("language", "source", "expected"),
    [
        (
            "sql",
            MYSQL,
            [("", "-- A dump."), ("films", "--"), ("grade", "DELIMITER $$"), ("", "SELECT 1;")],
        ),
        (
            "sql",
            POSTGRES,
            [
                ("public.total", "CREATE OR REPLACE FUNCTION"),
                ("", "GRANT SELECT ON other TO bob;"),
                ("Big One", "/* CREATE TABLE"),
                ("public.films", "COPY public.films (id) FROM stdin;"),
                ("", "CREATE UNIQUE INDEX ON films (id);"),
                ("public.films", "ALTER TABLE ONLY public.films ADD PRIMARY KEY (id);"),
            ],
        ),
        (
            "sql",
            TRANSACT,
            [
                ("", "USE Shop"),
                ("dbo.Orders", "CREATE TABLE [dbo].[Orders] (Id int)"),
                ("dbo.CloseOrder", "CREATE OR ALTER PROC dbo.CloseOrder @Id int"),
                ("", "EXEC dbo.CloseOrder 3"),
            ],
        ),
        ("sql", ORACLE, [("pay", "CREATE OR REPLACE PACKAGE BODY pay IS"), ("", "SELECT 1 FROM dual;")]),
        (
            "make",
            MAKE,
            [
                ("", "# What is made."),
                ("all", ".PHONY: all"),
                ("recipe", "define recipe"),
                ("%.o $(OUT:.a=.b)", "%.o $(OUT:.a=.b): %.c | dir"),
                ("", "vpath %.c src:lib"),
                (".c.o", ".c.o :: x"),
            ],
        ),
        (
            "dockerfile",
            DOCKER,
            [
                ("", "# syntax=docker/dockerfile:1"),
                ("build", "# Builds"),
                ("debian", "FROM debian"),
                ("scratch", "from scratch"),
            ],
        ),
    ],
)
def test_statements_rules_and_stages_are_cut_with_their_names(language, source, expected):
    assert found(language, source) == expected


def test_lines_may_end_in_any_way():
    source = "CREATE TABLE a (x int);\r\nCREATE TABLE b (x int);\r\n"
    assert [name for name, _line in found("sql", source)] == ["a", "b"]


def test_a_body_that_nothing_ends_holds_the_rest():
    assert [name for name, _line in found("sql", "CREATE TABLE a (x text DEFAULT '$$');\nSELECT 1;\n")] == ["a", ""]
    assert [name for name, _line in found("dockerfile", "FROM a\nRUN echo $((1 <<X))\nFROM b\n")] == ["a", "b"]
