#include "flow/source/slot.h"

#include "pg/compat.h"
#include "pg/spi.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog_internal.h"
#include "access/xlogutils.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "utils/guc.h"
#include "utils/inval.h"
}

namespace pgbraid::flow {

namespace {

constexpr char plugin[] = "pgbraid";

WaitForWal wait_for_wal = nullptr;

// read_local_xlog_page would poll every millisecond for what is not there yet.
int read_page(XLogReaderState *reader, XLogRecPtr page, int length, XLogRecPtr record, char *to)
{
	pg::enter([](XLogRecPtr lsn) { wait_for_wal(lsn); }, page + (XLogRecPtr) length);
	return read_local_xlog_page(reader, page, length, record, to);
}

XLogReaderRoutine *reader_routine()
{
	static XLogReaderRoutine routine = {read_page, wal_segment_open, wal_segment_close};
	return &routine;
}

// Our output plugin never writes through PostgreSQL.
void no_write(LogicalDecodingContext *, XLogRecPtr, TransactionId, bool)
{
}

} // namespace

SlotState find_slot(const std::string &name)
{
	SlotState state = SlotState::missing;
	pg::spi::each("SELECT restart_lsn IS NULL OR wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = $1",
				  {pg::spi::text(name)}, [&](const pg::spi::Row &row) {
					  state = row.boolean(1) ? SlotState::invalidated : SlotState::usable;
				  });
	return state;
}

void allow_own_plugin()
{
	pg::call([] {
		if (GetConfigOption("output_plugin_libraries", true, false) != nullptr)
			SetConfigOption("output_plugin_libraries", plugin, PGC_SUSET, PGC_S_SESSION);
	});
}

void create_slot(const std::string &name, bool failover, WaitForWal wait)
{
	wait_for_wal = wait;
	pg::call([&] {
		StartTransactionCommand(); // to wait for others in
		CheckLogicalDecodingRequirements();
		pg::create_ephemeral_slot(name.c_str(), failover);
		auto *context = CreateInitDecodingContext(plugin, NIL, false, InvalidXLogRecPtr, reader_routine(), no_write,
												  no_write, nullptr);
		DecodingContextFindStartpoint(context);
		FreeDecodingContext(context);
		ReplicationSlotPersist();
		ReplicationSlotRelease();
		CommitTransactionCommand();
	});
}

void set_failover(const std::string &name, bool failover)
{
	pg::call([&] { pg::set_slot_failover(name.c_str(), failover); });
}

void drop_slot(const std::string &name)
{
	pg::call([&] { ReplicationSlotDrop(name.c_str(), true); });
}

SlotReader::SlotReader(const std::string &name, WaitForWal wait)
{
	wait_for_wal = wait;
	context_ = pg::call([&] {
		CheckLogicalDecodingRequirements();
		pg::acquire_slot(name.c_str());
		auto *context =
			CreateDecodingContext(InvalidXLogRecPtr, NIL, false, reader_routine(), no_write, no_write, nullptr);
		XLogBeginRead(context->reader, MyReplicationSlot->data.restart_lsn);
		InvalidateSystemCaches();
		return context;
	});
}

void SlotReader::read()
{
	pg::call([&] {
		char *error = nullptr;
		XLogRecord *record = XLogReadRecord(context_->reader, &error);
		if (error != nullptr)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not read WAL: %s", error)));
		if (record != nullptr)
			LogicalDecodingProcessRecord(context_, context_->reader);
	});
}

core::Lsn SlotReader::end() const noexcept
{
	return context_->reader->EndRecPtr;
}

core::Lsn SlotReader::confirmed() const noexcept
{
	return MyReplicationSlot->data.confirmed_flush;
}

void SlotReader::confirm(core::Lsn lsn)
{
	if (lsn <= confirmed())
		return;
	pg::call([&] {
		LogicalConfirmReceivedLocation(lsn);
		ReplicationSlotMarkDirty();
	});
}

void SlotReader::save()
{
	pg::call([] { ReplicationSlotSave(); });
}

} // namespace pgbraid::flow
