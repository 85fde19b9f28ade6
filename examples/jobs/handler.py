#!/usr/bin/env python3
"""Executes runs of a job without a command, over SQL alone: python3 handler.py "dbname=shop" my_job

Needs psycopg2 (Debian: python3-psycopg2). Start as many as you like: each run goes to one of them.
"""
import os
import socket
import sys

import psycopg2

DSN, JOB = sys.argv[1], sys.argv[2]
WORKER = f"{socket.gethostname()}-{os.getpid()}"


def work(cursor, payload):
    """What it does with this cursor is committed together with the end of the run, or not at all."""
    cursor.execute("INSERT INTO greetings (who) VALUES (%s)", (payload["who"],))
    return f"greeted {payload['who']}"


connection = psycopg2.connect(DSN)
while True:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT run, token, payload FROM pgjob_claim(%s, %s, wait => '30 s')", ([JOB], WORKER))
        claimed = cursor.fetchone()
    if claimed is None:
        continue
    run, token, payload = claimed
    try:
        with connection, connection.cursor() as cursor:
            output = work(cursor, payload)
            cursor.execute("SELECT pgjob_complete(%s, %s, output => %s)", (run, token, output))
    except Exception as error:  # what was done for it is undone
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pgjob_complete(%s, %s, error => %s)", (run, token, str(error)))
