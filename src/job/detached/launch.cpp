#include "job/detached/launch.h"

#include "job/detached/request.h"
#include "pg/background.h"
#include "pg/encoding.h"
#include "pg/wait.h"

extern "C" {
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
}

#include <csignal>

namespace pgbraid::job {

namespace {

using catalog::ClaimedRun;
using catalog::RunEnd;

constexpr int64 patience = 5 * USECS_PER_SEC; // of a process that was asked to cancel

volatile sig_atomic_t is_cancelled = false;
BackgroundWorkerHandle *current = nullptr;

void at_interrupt(int)
{
	int saved = errno;
	is_cancelled = true;
	SetLatch(MyLatch);
	errno = saved;
}

void end_with_us(int, Datum)
{
	if (current != nullptr)
		TerminateBackgroundWorker(current);
}

std::string settings_text(const ClaimedRun &run)
{
	std::string text;
	for (const catalog::Setting &setting : run.work->settings)
		text += setting.name + '=' + setting.value + '\x01';
	return text;
}

// What the other process is told; text is converted within a transaction.
struct Message {
	Oid database = InvalidOid;
	std::string texts[3]; // command, payload, settings
};

Message message_for(const ClaimedRun &run)
{
	Message message{.database = MyDatabaseId, .texts = {}};
	pg::in_transaction("preparing a run", [&] {
		const std::string &name = run.work->database;
		if (!name.empty())
			message.database = pg::call([&] { return get_database_oid(name.c_str(), true); });
		message.texts[0] = pg::to_utf8(run.work->command);
		message.texts[1] = pg::to_utf8(run.payload.value_or(""));
		message.texts[2] = pg::to_utf8(settings_text(run));
	});
	if (!OidIsValid(message.database))
		throw pg::Failure({.sqlstate = "3D000",
						   .message = "database \"" + run.work->database + "\" does not exist",
						   .hint = "Give the job another one: pgjob_alter(job, database => ...)."});
	return message;
}

dsm_segment *make_request(const ClaimedRun &run)
{
	Message message = message_for(run);
	uint32 at[3], end = sizeof(Request);
	for (int i = 0; i < 3; i++) {
		at[i] = end;
		end += (uint32) message.texts[i].size() + 1;
	}
	uint32 queue_at = (uint32) MAXALIGN(end);
	dsm_segment *segment = pg::call([&] { return dsm_create(queue_at + result_queue_size, 0); });
	auto *request = new (dsm_segment_address(segment)) Request{
		.database = message.database,
		.role = run.work->run_as,
		.attempt = run.attempt,
		.due_at = run.due_at,
		.has_payload = run.payload.has_value(),
		.command_at = at[0],
		.payload_at = at[1],
		.settings_at = at[2],
		.queue_at = queue_at,
		.sqlstate = "",
		.message = "",
	};
	for (int i = 0; i < 3; i++)
		memcpy(request->text(at[i]), message.texts[i].c_str(), message.texts[i].size() + 1);
	return segment;
}

bool start_process(dsm_segment *segment, const ClaimedRun &run)
{
	char name[BGW_MAXLEN];
	snprintf(name, sizeof name, "pgbraid run " INT64_FORMAT, run.id);
	BackgroundWorker worker = pg::background_worker("pgbraid_detached_main", "pgbraid run", name);
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	return pg::call([&] { return RegisterDynamicBackgroundWorker(&worker, &current); });
}

// Asks once to cancel, and when that does not help, ends the process.
class Canceller {
public:
	explicit Canceller(const ClaimedRun &run)
		: deadline_(run.work->timeout > 0 ? GetCurrentTimestamp() + run.work->timeout : PG_INT64_MAX)
	{
	}
	bool timed_out() const noexcept { return timed_out_; }
	long patience_ms() const
	{
		TimestampTz next = asked_at_ == 0 ? deadline_ : asked_at_ + patience;
		return next == PG_INT64_MAX ? -1 : Max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next), 1);
	}
	void step()
	{
		TimestampTz now = GetCurrentTimestamp();
		if (asked_at_ == 0 && (is_cancelled || now >= deadline_)) {
			timed_out_ = !is_cancelled;
			ask(now);
		} else if (asked_at_ != 0 && now >= asked_at_ + patience) {
			pg::call([] { TerminateBackgroundWorker(current); });
		}
	}

private:
	void ask(TimestampTz now)
	{
		pid_t pid;
		if (pg::call([&] { return GetBackgroundWorkerPid(current, &pid); }) == BGWH_STARTED)
			kill(pid, SIGINT);
		asked_at_ = now;
	}

	TimestampTz deadline_, asked_at_ = 0;
	bool timed_out_ = false;
};

void read_result(const std::string &message, RunEnd &end)
{
	ResultHeader header;
	memcpy(&header, message.data(), sizeof header);
	const char *texts = message.data() + sizeof header;
	std::string first;
	pg::in_transaction("reading a result", [&] {
		first = pg::from_utf8({texts, header.log_at});
		end.log = pg::from_utf8({texts + header.log_at, header.length - header.log_at});
	});
	end.sqlstate = header.sqlstate;
	if (!end.sqlstate.empty()) {
		end.error = first;
		return;
	}
	end.rows = header.rows;
	if (header.has_output)
		end.output = first;
}

void note_silence(const Request &request, RunEnd &end)
{
	bool has_said = request.sqlstate[0] != '\0';
	end.sqlstate = has_said ? request.sqlstate : "57P01";
	end.error = has_said ? request.message : "the process that executed it was terminated";
}

// Nothing where its process has gone without a word.
std::optional<std::string> await_result(dsm_segment *segment, Canceller &canceller)
{
	auto *request = static_cast<Request *>(dsm_segment_address(segment));
	shm_mq_handle *queue = pg::call([&] { return shm_mq_attach(request->queue(), segment, current); });
	static pg::Waiter waiter("PgbraidDetached");
	for (;;) {
		Size size;
		void *message;
		shm_mq_result result = pg::call([&] { return shm_mq_receive(queue, &size, &message, true); });
		if (result == SHM_MQ_SUCCESS)
			return std::string(static_cast<char *>(message), size);
		if (result == SHM_MQ_DETACHED)
			return std::nullopt;
		canceller.step();
		waiter.wait(canceller.patience_ms());
	}
}

} // namespace

Detached run_detached(const ClaimedRun &run, RunEnd &end)
{
	static bool is_first = true;
	if (std::exchange(is_first, false))
		pg::call([] { before_shmem_exit(end_with_us, 0); });
	is_cancelled = false;
	pqsignal(SIGINT, at_interrupt);
	dsm_segment *segment = make_request(run);
	auto *request = static_cast<Request *>(dsm_segment_address(segment));
	pg::call([&] {
		shm_mq *queue = shm_mq_create(request->queue(), result_queue_size);
		shm_mq_set_receiver(queue, MyProc);
	});
	bool is_started = start_process(segment, run);
	Canceller canceller(run);
	std::optional<std::string> result;
	if (is_started && !(result = await_result(segment, canceller)))
		note_silence(*request, end);
	current = nullptr;
	pg::call([&] { dsm_detach(segment); }); // before the result is read, which is an error in some encodings
	if (result)
		read_result(*result, end);
	if (canceller.timed_out() && !end.sqlstate.empty()) {
		end.sqlstate = "57014";
		end.error = "it took longer than the timeout of the job";
	}
	return is_started ? Detached::done : Detached::no_process;
}

} // namespace pgbraid::job
