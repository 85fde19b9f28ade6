// The module pgbraid_decode, for measurements only: pgbraid's objects, linked with a publisher that throws away what it
// is given, and a function that drains a slot in the session that calls it.
//
//   bench_decode(slot name, publication text, encode boolean, rows_per_message int) RETURNS float8[]
//
// Without `encode` the callbacks of the output plugin do nothing, which is what decoding costs by itself. With it,
// everything is done but sending. The slot, whose plugin must be pgbraid_decode, stays where it is. Returns changes,
// seconds, seconds of CPU and bytes.
#include "flow/source/decoder.h"
#include "flow/source/slot.h"
#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include "access/xlog.h"
#include "access/xlogutils.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
PG_MODULE_MAGIC;
}

#include <chrono>
#include <ctime>

namespace pgbraid::nats {

// In place of nats/publisher.cpp.
namespace {
uint64_t thrown_away = 0;
}

class Mailbox {};
Publisher::Publisher(PublisherOptions options, int) : options_(std::move(options))
{
}
Publisher::~Publisher() = default;
void Publisher::start()
{
}
bool Publisher::stop(std::chrono::milliseconds) noexcept
{
	return true;
}
void Publisher::submit(std::unique_ptr<core::Batch> batch)
{
	thrown_away += batch->bytes();
}
Publisher::Progress Publisher::progress() const
{
	return {};
}

} // namespace pgbraid::nats

namespace {

using namespace pgbraid;

uint64 changes = 0;

void count_change(LogicalDecodingContext *, ReorderBufferTXN *, Relation, ReorderBufferChange *)
{
	changes++;
}

void no_write(LogicalDecodingContext *, XLogRecPtr, TransactionId, bool)
{
}

void no_wait(core::Lsn)
{
}

// As flow/source/slot.cpp does it, with callbacks that do nothing.
void decode(const char *slot, XLogRecPtr end)
{
	static XLogReaderRoutine routine = {read_local_xlog_page, wal_segment_open, wal_segment_close};
	pg::acquire_slot(slot);
	auto *context = CreateDecodingContext(InvalidXLogRecPtr, NIL, false, &routine, no_write, no_write, nullptr);
	context->callbacks.begin_cb = [](LogicalDecodingContext *, ReorderBufferTXN *) {};
	context->callbacks.change_cb = count_change;
	context->callbacks.commit_cb = [](LogicalDecodingContext *, ReorderBufferTXN *, XLogRecPtr) {};
	XLogBeginRead(context->reader, MyReplicationSlot->data.restart_lsn);
	InvalidateSystemCaches();
	while (context->reader->EndRecPtr < end) {
		char *error = nullptr;
		XLogRecord *record = XLogReadRecord(context->reader, &error);
		if (record != nullptr)
			LogicalDecodingProcessRecord(context, context->reader);
		CHECK_FOR_INTERRUPTS();
	}
	FreeDecodingContext(context);
}

core::SubjectTemplate subject_template(const char *text)
{
	return pg::take(core::SubjectTemplate::parse(text));
}

// What a session puts together for a worker, and no more.
struct Flow {
	nats::Publisher publisher{{}, -1};
	flow::Outlet outlet{publisher, [] {}, [] {}};
	core::History history{GetSystemIdentifier(), "16384-1-1-1"};
	flow::RelationPlans plans;
	flow::Encoder encoder;
	flow::Announcer announcer{{.message_subject = "bench.{prefix}", .transaction_subject = "bench"}, "bench", history};
	flow::SchemaLog schemas{1, 1, flow::SchemaEvents::none};
	core::Oversize oversize{core::OversizeMode::split, history, 1 << 20, {}};
	flow::DeadLetters letters{1};
	flow::Decoder decoder;

	Flow(const char *publication, const std::vector<catalog::ColumnRule> *rules,
		 const std::vector<catalog::TableFilter> *filters, std::size_t rows_per_message)
		: plans({.publication = publication, .rules = rules, .filters = filters}),
		  encoder({.format = flow::Format::json,
				   .subject = subject_template("bench.{table}"),
				   .database = "bench",
				   .flow = "bench",
				   .history = history,
				   .rows_per_message = rows_per_message}),
		  decoder({.flow = 1,
				   .history = history,
				   .encoder = encoder,
				   .plans = plans,
				   .outlet = outlet,
				   .announcer = announcer,
				   .schemas = schemas,
				   .oversize = oversize,
				   .letters = letters},
				  {})
	{
	}
};

double cpu()
{
	timespec time;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

} // namespace

PGBRAID_FUNCTION(bench_decode)
{
	const char *slot = NameStr(*PG_GETARG_NAME(0));
	const char *publication = pg::call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(1)); });
	bool encode = PG_GETARG_BOOL(2);
	XLogRecPtr end = GetFlushRecPtr(nullptr);
	std::vector<catalog::ColumnRule> rules;
	std::vector<catalog::TableFilter> filters;
	Flow flow(publication, &rules, &filters, (std::size_t) PG_GETARG_INT32(3)); // its decoder lets the slot be used
	auto begin = std::chrono::steady_clock::now();
	double cpu_begin = cpu();
	changes = nats::thrown_away = 0;
	if (encode) {
		flow::SlotReader reader(slot, no_wait);
		while (reader.end() < end) {
			reader.read();
			flow.decoder.record_read();
		}
	} else {
		pg::call([&] { decode(slot, end); });
	}
	std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
	double cpu_seconds = cpu() - cpu_begin;
	return pg::call([&] {
		ReplicationSlotRelease();
		InvalidateSystemCaches();
		Datum results[] = {Float8GetDatum((double) changes), Float8GetDatum(seconds.count()),
						   Float8GetDatum(cpu_seconds), Float8GetDatum((double) nats::thrown_away)};
		return PointerGetDatum(construct_array(results, 4, FLOAT8OID, 8, true, 'd'));
	});
}
