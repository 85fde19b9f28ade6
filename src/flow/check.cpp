// pgflow_check: asks a NATS server what a flow would ask. A short-lived worker does it, since libnats starts threads,
// and those have no place in the backend of a user; what it finds comes back through a shared message queue.
#include "nats/signals.h"
#include "nats/stream.h"
#include "pg/background.h"
#include "pg/boundary.h"
#include "pg/transaction.h"
#include "pg/wait.h"
#include "servers/options.h"
#include "worker/process.h"

extern "C" {
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
}

#include <atomic>
#include <memory>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace pgbraid::flow {

namespace {

constexpr Size queue_size = 16 * 1024;

struct Request {
	Oid database, user;
	NameData server; // empty: pgbraid.nats_url
	alignas(MAXIMUM_ALIGNOF) char queue[queue_size];
};

struct Finding {
	std::string check, detail;
	bool ok;
};

Finding finding(const char *check, const core::Error &error)
{
	return {check, error.message + (error.hint.empty() ? "" : " (" + error.hint + ")"), false};
}

// Runs on a thread of its own: it may block.
std::vector<Finding> examine(const nats::ConnectionOptions &options)
{
	auto connection = nats::Connection::open(options);
	if (!connection)
		return {finding("nats connection", connection.error())};
	auto account = nats::jetstream_account(*connection);
	std::string reached = connection->connected_url() + ", max_payload " + std::to_string(connection->max_payload()) +
						  ", round trip " + std::to_string(connection->round_trip().count()) + " us";
	return {{"nats connection", reached, true},
			account ? Finding{"jetstream", *account, true} : finding("jetstream", account.error())};
}

// What the thread and the worker share; the thread may outlive the worker's interest.
struct Examination {
	std::vector<Finding> findings;
	std::atomic<bool> done{false};
	int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
};

std::vector<Finding> examine_interruptibly(nats::ConnectionOptions options)
{
	auto shared = std::make_shared<Examination>();
	if (shared->event_fd < 0)
		throw std::system_error(errno, std::generic_category(), "could not create an eventfd");
	{
		nats::SignalsBlocked blocked;
		std::thread([shared, options = std::move(options)] {
			try {
				shared->findings = examine(options);
			} catch (...) { // an exception that left the thread would end the process, and with it the whole cluster
			}
			shared->done = true;
			uint64_t one = 1;
			(void) !write(shared->event_fd, &one, sizeof one);
		}).detach();
	}
	pg::Waiter waiter("PgbraidCheck", shared->event_fd);
	while (!shared->done)
		waiter.wait(-1);
	if (shared->findings.empty())
		throw std::bad_alloc();
	return shared->findings;
}

void send(shm_mq_handle *queue, const Finding &found)
{
	std::string message = (found.ok ? "1" : "0") + found.check + '\n' + found.detail;
	pg::call([&] { (void) shm_mq_send(queue, message.size(), message.data(), false, true); });
}

// What is wrong with the definition of the server is a finding as well.
std::vector<Finding> look(const Request *request)
{
	try {
		return examine_interruptibly(pg::in_transaction("looking up the NATS server", [&] {
			return servers::connection_options(NameStr(request->server), request->user);
		}));
	} catch (const pg::Failure &failure) {
		return {{"nats connection", std::string(failure.what()) + " (" + failure.hint() + ")", false}};
	}
}

void run(const Request *request, shm_mq_handle *queue)
{
	for (const Finding &found : look(request))
		send(queue, found);
}

// The backend's side.

BackgroundWorkerHandle *start_worker(dsm_segment *segment)
{
	BackgroundWorker worker = pg::background_worker("pgbraid_check_main", "pgbraid check", "pgbraid check");
	worker.bgw_start_time = BgWorkerStart_ConsistentState; // a standby's server can be checked, too
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	BackgroundWorkerHandle *handle;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("no background worker slot is free"),
						errhint("Increase max_worker_processes in postgresql.conf and restart the server.")));
	return handle;
}

void store(const ReturnSetInfo *result, const char *message, Size size)
{
	const auto *end_of_check = static_cast<const char *>(memchr(message, '\n', size));
	int check_size = (int) (end_of_check - message) - 1;
	Datum values[3] = {PointerGetDatum(cstring_to_text_with_len(message + 1, check_size)),
					   BoolGetDatum(message[0] == '1'),
					   PointerGetDatum(cstring_to_text_with_len(end_of_check + 1, (int) size - check_size - 2))};
	bool nulls[3] = {};
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void ask_worker(FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
	dsm_segment *segment = dsm_create(sizeof(Request), 0);
	auto *request = static_cast<Request *>(dsm_segment_address(segment));
	request->database = MyDatabaseId;
	request->user = GetUserId();
	MemSet(&request->server, 0, sizeof request->server);
	if (!PG_ARGISNULL(0))
		namestrcpy(&request->server, NameStr(*PG_GETARG_NAME(0)));
	shm_mq *queue = shm_mq_create(request->queue, queue_size);
	shm_mq_set_receiver(queue, MyProc);
	shm_mq_handle *handle = shm_mq_attach(queue, segment, nullptr);
	shm_mq_set_handle(handle, start_worker(segment));
	Size size;
	void *message;
	while (shm_mq_receive(handle, &size, &message, false) == SHM_MQ_SUCCESS)
		store(reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo), static_cast<char *>(message), size);
	dsm_detach(segment);
}

} // namespace

} // namespace pgbraid::flow

PGBRAID_FUNCTION(pgbraid_check_nats)
{
	using namespace pgbraid;
	worker::require_preload();
	pg::call([&] { flow::ask_worker(fcinfo); });
	return (Datum) 0;
}

PGBRAID_EXPORT void pgbraid_check_main(Datum argument)
{
	using namespace pgbraid;
	worker::start_outside_registry();
	dsm_segment *segment = dsm_attach(DatumGetUInt32(argument));
	if (segment == nullptr)
		proc_exit(0); // nobody waits any more
	auto *request = static_cast<flow::Request *>(dsm_segment_address(segment));
	auto *queue = reinterpret_cast<shm_mq *>(request->queue);
	shm_mq_set_sender(queue, MyProc);
	shm_mq_handle *handle = shm_mq_attach(queue, segment, nullptr);
	BackgroundWorkerInitializeConnectionByOid(request->database, InvalidOid, 0);
	pg::enter([](const flow::Request *r, shm_mq_handle *h) { flow::run(r, h); },
			  static_cast<const flow::Request *>(request), handle);
	proc_exit(0);
}
