// What an executor and the process that it starts for a run share: memory with the run in it, the room for the reason
// why that process could not begin, and a queue for the result. Text is UTF-8, since the two may be in databases of
// different encodings.
#pragma once
#include "catalog/runs.h"

extern "C" {
#include "storage/dsm.h"
#include "storage/shm_mq.h"
}

namespace pgbraid::job {

struct Request {
	Oid database, role;
	int attempt;
	TimestampTz due_at;
	bool has_payload;
	uint32 command_at, payload_at, settings_at; // offsets of strings that end with a zero byte
	uint32 queue_at;
	char sqlstate[6]; // of what ended the process before it could say so: "" for none
	char message[512];

	const char *text(uint32 offset) const { return reinterpret_cast<const char *>(this) + offset; }
	char *text(uint32 offset) { return reinterpret_cast<char *>(this) + offset; }
	shm_mq *queue() { return reinterpret_cast<shm_mq *>(text(queue_at)); }
};

constexpr Size result_queue_size = 16 * 1024;

// A result is one message in the queue.
struct ResultHeader {
	int64 rows;
	char sqlstate[6]; // "" for success
	bool has_output;
	uint32 log_at, length; // the text is the output or the error, then what it said on its way
};

} // namespace pgbraid::job
