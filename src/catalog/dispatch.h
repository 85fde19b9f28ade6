// pgbraid.jobs and pgbraid.job_runs, as the dispatcher reads and writes them. In an open transaction.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
#include "utils/uuid.h"
}

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pgbraid::catalog {

// Are there jobs of this database whose runs are offered or sent?
bool has_dispatched_jobs();

struct OfferedJob {
	int64 id;
	std::string server; // "": pgbraid.nats_url
	Oid owner;			// InvalidOid then
	bool is_permitted;	// the owner may use that server
};
std::vector<OfferedJob> read_offered_jobs();

// A run that is ready, with a new token.
struct OfferedRun {
	int64 id, job;
	std::string subject, offer; // in the encoding of the database
	int64 patience;				// microseconds
	int priority;
	TimestampTz run_at;
};
// Those that come first, in order; not these runs, nor of these jobs.
std::vector<OfferedRun> offer_runs(std::span<const int64> but_runs, std::span<const int64> but_jobs, int64 most);
// One of each job.
std::vector<OfferedRun> offer_one_of_each(std::span<const int64> jobs);

// Runs that are executed, with their tokens; all of handler nats where none are named.
struct HeldRun {
	int64 id, job;
	pg_uuid_t token;
};
std::vector<HeldRun> read_held_runs();
std::vector<HeldRun> still_held(std::span<const int64> runs);

// What applications say, in order, and the answers. The first error undoes all.
struct Answered {
	int64 number; // of the message, from 1
	std::string reply, kind;
	int64 run, job;
	pg_uuid_t token;
};
std::vector<Answered> answer_messages(std::span<const char *const> messages);

// A run that is now ours to send.
struct WebhookRun {
	int64 id;
	pg_uuid_t token;
	std::string url, body, secret;
	bool is_permitted; // the job's owner may use the server
	int attempt;
	int64 timeout; // microseconds
};
std::vector<WebhookRun> take_webhooks(const char *worker, int64 most);

struct RunOutcome {
	int64 id;
	pg_uuid_t token;
	std::string sqlstate, error; // "" if it succeeded
	std::string reason;
	std::optional<std::string> output;
};
// Unless the run is no longer the one with that token.
void note_outcome(const RunOutcome &outcome);
// A ready run that can't be offered.
void fail_ready(int64 run, const std::string &sqlstate, const std::string &error);

// What a dispatcher before this one has sent: nobody waits for the answers.
uint64 give_up_webhooks();

} // namespace pgbraid::catalog
