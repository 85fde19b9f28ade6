#include "branch/storage.h"

extern "C" {
#include "access/htup_details.h"
#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/catalog.h"
#include "catalog/pg_class_d.h"
#include "catalog/storage.h"
#include "catalog/storage_xlog.h"
#include "commands/dbcommands_xlog.h"
#include "commands/sequence.h"
#include "common/file_perm.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/fd.h"
#include "utils/relmapper.h"
}

#include <fcntl.h>
#include <unistd.h>

namespace pgbraid::branch {

namespace {

constexpr int batch = 32; // pages in one record of WAL: XLR_MAX_BLOCK_ID
constexpr size_t io_alignment = 4096;

alignas(io_alignment) char pages[batch][BLCKSZ];

void write_version_file(const char *directory)
{
	char path[MAXPGPATH];
	snprintf(path, sizeof path, "%s/PG_VERSION", directory);
	int file = OpenTransientFile(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	constexpr char version[] = PG_MAJORVERSION "\n";
	if (file < 0 || write(file, version, sizeof version - 1) != (ssize_t) sizeof version - 1)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", path)));
	if (pg_fsync(file) != 0)
		ereport(data_sync_elevel(ERROR), (errcode_for_file_access(), errmsg("could not fsync file \"%s\": %m", path)));
	CloseTransientFile(file);
	fsync_fname(directory, true);
}

void log_directory(Oid database, Oid tablespace)
{
	xl_dbase_create_wal_log_rec record = {database, tablespace};
	START_CRIT_SECTION();
	XLogBeginInsert();
	XLogRegisterData(reinterpret_cast<char *>(&record), sizeof record);
	(void) XLogInsert(RM_DBASE_ID, XLOG_DBASE_CREATE_WAL_LOG);
	END_CRIT_SECTION();
}

// The WAL of the original allows for values that it will hand out without further WAL; that of the copy does not.
void forget_logged_values(char *page)
{
	auto *row = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)));
	reinterpret_cast<Form_pg_sequence_data>(reinterpret_cast<char *>(row) + row->t_hoff)->log_cnt = 0;
}

// The next pages of the fork, as they are now.
int read_pages(const Stored &relation, ForkNumber fork, BlockNumber first, BlockNumber end,
			   BufferAccessStrategy strategy)
{
	int count = (int) Min((BlockNumber) batch, end - first);
	for (int i = 0; i < count; i++) {
		Buffer buffer =
			ReadBufferWithoutRelcache(relation.files, fork, first + i, RBM_NORMAL, strategy, relation.is_permanent);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		memcpy(pages[i], BufferGetPage(buffer), BLCKSZ);
		UnlockReleaseBuffer(buffer);
		if (relation.is_sequence && fork == MAIN_FORKNUM)
			forget_logged_values(pages[i]);
	}
	return count;
}

void log_pages(pg::Locator &files, ForkNumber fork, BlockNumber first, int count, bool is_standard)
{
	BlockNumber numbers[batch];
	Page images[batch];
	for (int i = 0; i < count; i++) {
		numbers[i] = first + i;
		images[i] = pages[i];
	}
	log_newpages(&files, fork, count, numbers, images, is_standard);
}

void write_pages(SMgrRelation files, ForkNumber fork, BlockNumber first, int count)
{
	for (int i = 0; i < count; i++) {
		PageSetChecksumInplace(pages[i], first + i);
		smgrextend(files, fork, first + i, pages[i], false);
	}
}

// A page of the visibility or free space map has its contents where others have their hole.
bool has_hole(const Stored &relation, ForkNumber fork)
{
	return relation.is_standard && fork == MAIN_FORKNUM;
}

struct Fork {
	const Stored &relation;
	pg::Locator target;
	ForkNumber number;
	bool is_logged;
	BlockNumber end;
	BufferAccessStrategy strategy;
};

int copy_pages(Fork &fork, BlockNumber first)
{
	return pg::call([&] {
		int count = read_pages(fork.relation, fork.number, first, fork.end, fork.strategy);
		if (fork.is_logged)
			log_pages(fork.target, fork.number, first, count, has_hole(fork.relation, fork.number));
		write_pages(pg::open_files(fork.target), fork.number, first, count);
		return count;
	});
}

void copy_fork(Fork &fork, const std::function<void(int64)> &progress)
{
	for (BlockNumber next = 0; next < fork.end;) {
		int count = copy_pages(fork, next);
		next += count;
		progress((int64) count * BLCKSZ);
	}
}

// What a checkpoint that began meanwhile may have missed: its WAL is before the point where recovery would begin.
void sync_fork(const Fork &fork, XLogRecPtr redo)
{
	pg::call([&] {
		bool has_no_wal = !XLogIsNeeded() && fork.number == INIT_FORKNUM; // what a crash resets the relation to
		if (GetRedoRecPtr() != redo || has_no_wal)
			smgrimmedsync(pg::open_files(fork.target), fork.number);
	});
}

void create_fork(const Fork &fork)
{
	SMgrRelation files = pg::open_files(fork.target);
	if (fork.number == MAIN_FORKNUM) {
		char persistence = fork.relation.is_permanent ? RELPERSISTENCE_PERMANENT : RELPERSISTENCE_UNLOGGED;
		(void) RelationCreateStorage(fork.target, persistence, false);
		return;
	}
	smgrcreate(files, fork.number, false);
	if (fork.relation.is_permanent || fork.number == INIT_FORKNUM)
		log_smgrcreate(&fork.target, fork.number);
}

} // namespace

void make_database_directory(Oid source, Oid copy, Oid tablespace)
{
	pg::call([&] {
		char *from = GetDatabasePath(source, tablespace), *to = GetDatabasePath(copy, tablespace);
		if (MakePGDirectory(to) < 0)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not create directory \"%s\": %m", to)));
		write_version_file(to);
		log_directory(copy, tablespace);
		RelationMapCopy(copy, tablespace, from, to);
	});
}

int64 size_of(const Stored &relation)
{
	return pg::call([&] {
		int64 blocks = 0;
		SMgrRelation files = pg::open_files(relation.files);
		for (int fork = MAIN_FORKNUM; fork <= MAX_FORKNUM; fork++)
			if (smgrexists(files, (ForkNumber) fork))
				blocks += smgrnblocks(files, (ForkNumber) fork);
		return blocks * BLCKSZ;
	});
}

void copy_relation(const Stored &relation, Oid copy, const std::function<void(int64)> &progress)
{
	Fork fork{.relation = relation,
			  .target = pg::in_database(relation.files, copy),
			  .number = MAIN_FORKNUM,
			  .is_logged = false,
			  .end = 0,
			  .strategy = pg::call([] { return GetAccessStrategy(BAS_BULKREAD); })};
	for (int number = MAIN_FORKNUM; number <= MAX_FORKNUM; number++) {
		fork.number = (ForkNumber) number;
		XLogRecPtr redo = pg::call([&]() -> XLogRecPtr {
			SMgrRelation files = pg::open_files(relation.files);
			if (!smgrexists(files, fork.number))
				return InvalidXLogRecPtr;
			fork.end = smgrnblocks(files, fork.number);
			fork.is_logged = XLogIsNeeded() && (relation.is_permanent || fork.number == INIT_FORKNUM);
			XLogRecPtr before = GetRedoRecPtr();
			create_fork(fork);
			return before;
		});
		if (redo == InvalidXLogRecPtr)
			continue;
		copy_fork(fork, progress);
		sync_fork(fork, redo);
	}
	pg::call([&] { FreeAccessStrategy(fork.strategy); });
}

} // namespace pgbraid::branch
