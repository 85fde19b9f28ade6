#include "branch/wal_check.h"

#include "pg/compat.h"
#include "pg/wal.h"

extern "C" {
#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "catalog/pg_control.h"
#include "catalog/storage_xlog.h"
#include "miscadmin.h"
#include "utils/relmapper.h"
}

#include <algorithm>
#include <utility>

namespace pgbraid::branch {

namespace {

bool is_of_pruning(const XLogReaderState *record)
{
	return XLogRecGetRmid(record) == RM_HEAP2_ID && (XLogRecGetInfo(record) & XLOG_HEAP_OPMASK) == pg::pruned_on_access;
}

// Of a page of the database. Sequences are handed out to who does not write, too: the copy may be ahead, never behind.
bool is_of_readers(const XLogReaderState *record)
{
	const uint8 info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;
	switch (XLogRecGetRmid(record)) {
		case RM_XLOG_ID: return info == XLOG_FPI_FOR_HINT;
		case RM_SEQ_ID: return true;
		case RM_HEAP2_ID: return is_of_pruning(record);
		default: return false;
	}
}

// The database whose files the record changes without telling of a page, or 0.
Oid database_of_files(XLogReaderState *record)
{
	const char *data = XLogRecGetData(record);
	const uint8 info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;
	if (XLogRecGetRmid(record) == RM_RELMAP_ID)
		return reinterpret_cast<const xl_relmap_update *>(data)->dbid;
	if (XLogRecGetRmid(record) != RM_SMGR_ID)
		return InvalidOid;
	return info == XLOG_SMGR_CREATE ? pg::database_of(reinterpret_cast<const xl_smgr_create *>(data))
									: pg::database_of(reinterpret_cast<const xl_smgr_truncate *>(data));
}

bool changes(XLogReaderState *record, Oid database)
{
	if (database_of_files(record) == database)
		return true;
	for (int block = 0; block <= XLogRecMaxBlockId(record); block++)
		if (XLogRecHasBlockRef(record, block) && pg::database_of_block(record, block) == database)
			return !is_of_readers(record);
	return false;
}

XLogReaderState *open_reader()
{
	static XLogReaderRoutine routine = {read_local_xlog_page, wal_segment_open, wal_segment_close};
	XLogReaderState *reader = XLogReaderAllocate(wal_segment_size, nullptr, &routine, nullptr);
	if (reader == nullptr)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return reader;
}

const char *name_of_manager(XLogReaderState *record)
{
	return GetRmgr(XLogRecGetRmid(record)).rm_name;
}

} // namespace

WalCheck::WalCheck(Oid database) : database_(database), closed_(pg::wal_end())
{
}

void WalCheck::begin(std::vector<TransactionId> open)
{
	begun_ = pg::wal_end();
	open_ = std::move(open);
}

bool WalCheck::is_open(TransactionId transaction) const
{
	if (!TransactionIdIsValid(transaction) || open_.empty())
		return false;
	TransactionId first = *std::min_element(open_.begin(), open_.end(), TransactionIdPrecedes);
	if (TransactionIdPrecedes(transaction, first))
		return false;
	TransactionId top = SubTransGetTopmostTransaction(transaction);
	return std::find(open_.begin(), open_.end(), top) != open_.end();
}

WalCheck::~WalCheck()
{
	if (reader_ != nullptr)
		XLogReaderFree(reader_);
}

// There is a record by now: of the directory of the copy, if of nothing else.
void WalCheck::start_reading()
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	reader_ = open_reader();
	XLogRecPtr first = XLogFindNextRecord(reader_, closed_);
	if (XLogRecPtrIsInvalid(first))
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read WAL at %X/%X", (uint32) (closed_ >> 32), (uint32) closed_)));
	XLogBeginRead(reader_, first);
	MemoryContextSwitchTo(caller);
}

void WalCheck::note_pruned()
{
	if (reader_->ReadRecPtr < begun_ || !is_of_pruning(reader_))
		return;
	PageNumber page;
	XLogRecGetBlockTag(reader_, 0, &page.files, &page.fork, &page.block);
	if (pg::database_of_files(page.files) == database_)
		pruned_.push_back(page);
}

bool WalCheck::find_intruder(XLogRecPtr end)
{
	while (reader_->EndRecPtr < end) {
		char *error = nullptr;
		if (XLogReadRecord(reader_, &error) == nullptr)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not read WAL: %s", error ? error : "it ends")));
		note_pruned();
		const TransactionId transaction = XLogRecGetXid(reader_);
		if ((reader_->ReadRecPtr >= begun_ || is_open(transaction)) && changes(reader_, database_)) {
			snprintf(intruder_, sizeof intruder_, "WAL of %s by transaction %u", name_of_manager(reader_), transaction);
			return true;
		}
	}
	return false;
}

bool WalCheck::read_until_now()
{
	return pg::call([&] {
		XLogRecPtr end = pg::wal_end();
		XLogFlush(end);
		if (reader_ == nullptr)
			start_reading();
		return find_intruder(end);
	});
}

void WalCheck::read_on()
{
	bool is_found = false;
	try {
		is_found = read_until_now();
	} catch (const pg::Error &error) {
		if (error.data()->sqlerrcode != ERRCODE_UNDEFINED_FILE)
			throw;
		throw pg::Failure({.sqlstate = "40001",
						   .message = "WAL has been removed before it could say whether the database stood still",
						   .hint = "Try again, or increase wal_keep_size."});
	}
	if (is_found)
		throw pg::Failure({.sqlstate = "40001",
						   .message = "something has written to the database although it stood still",
						   .detail = std::string(intruder_) + ".",
						   .hint = "Try again when that has ended."});
}

} // namespace pgbraid::branch
