#include "branch/cloning.h"

#include "branch/process.h"

extern "C" {
#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "access/xlogrecord.h"
#include "catalog/catalog.h"
#include "commands/dbcommands_xlog.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
}

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#if __has_include(<linux/fs.h>)
#include <linux/fs.h>
#endif

namespace pgbraid::branch {

namespace {

constexpr size_t io_alignment = 4096;

// 0, or why not.
int clone_contents([[maybe_unused]] int source, [[maybe_unused]] int target)
{
#ifdef FICLONE
	int result;
	do
		result = ioctl(target, FICLONE, source);
	while (result != 0 && errno == EINTR);
	return result == 0 ? 0 : errno;
#else
	return ENOSYS;
#endif
}

// Of the file system, or of these two files: one of them without checksums, say.
bool says_never(int error)
{
	constexpr int reasons[] = {EOPNOTSUPP, ENOTTY, EXDEV, EINVAL, ENOSYS, EBADF, EPERM};
	return std::find(std::begin(reasons), std::end(reasons), error) != std::end(reasons);
}

[[noreturn]] void raise(int error, const char *from, const char *to)
{
	errno = error;
	ereport(ERROR, (says_never(error) ? errcode(ERRCODE_FEATURE_NOT_SUPPORTED) : errcode_for_file_access(),
					errmsg("could not clone file \"%s\" to \"%s\": %m", from, to),
					says_never(error) ? errhint("The option \"method\": \"wal\" copies the contents.") : 0));
	pg_unreachable();
}

struct Cloned {
	int64 bytes;
	int error;
};

// What is open when an error is raised is closed by the end of the transaction. -1 byte: there is no such file.
Cloned clone_file(const char *from, const char *to)
{
	int source = OpenTransientFile(from, O_RDONLY | PG_BINARY);
	if (source < 0 && errno == ENOENT)
		return {-1, 0};
	if (source < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", from)));
	int target = OpenTransientFile(to, O_RDWR | O_CREAT | O_EXCL | PG_BINARY);
	if (target < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create file \"%s\": %m", to)));
	int error = clone_contents(source, target);
	struct stat status;
	if (fstat(target, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", to)));
	if (CloseTransientFile(target) != 0 && error == 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not close file \"%s\": %m", to)));
	CloseTransientFile(source);
	return {(int64) status.st_size, error};
}

// A relation has files of RELSEG_SIZE blocks: "12345", "12345.1", ..., "12345_fsm".
void segment_path(const pg::Locator &files, int fork, uint32 segment, char (&path)[MAXPGPATH])
{
	pg::relation_path(files, (ForkNumber) fork, path);
	size_t length = strlen(path);
	if (segment > 0)
		snprintf(path + length, sizeof path - length, ".%u", segment);
}

// Calls f with fork and number of each segment, until it says that there is no such file: then the next fork.
template <typename F>
void each_segment(F &&f)
{
	for (int fork = MAIN_FORKNUM; fork <= MAX_FORKNUM; fork++)
		for (uint32 segment = 0; f(fork, segment);)
			segment++;
}

int64 clone_segment(const pg::Locator &source, const pg::Locator &target, int fork, uint32 segment)
{
	char from[MAXPGPATH], to[MAXPGPATH];
	segment_path(source, fork, segment, from);
	segment_path(target, fork, segment, to);
	Cloned cloned = clone_file(from, to);
	if (cloned.error != 0)
		raise(cloned.error, from, to);
	if (cloned.bytes < 0 && fork == MAIN_FORKNUM && segment == 0)
		raise(ENOENT, from, to);
	return cloned.bytes;
}

bool sync_segment(const pg::Locator &files, int fork, uint32 segment)
{
	char path[MAXPGPATH];
	struct stat status;
	segment_path(files, fork, segment, path);
	if (stat(path, &status) != 0 && errno == ENOENT)
		return false;
	fsync_fname(path, false);
	return true;
}

// All at once, which makes short work of the single files afterwards: it is these that report errors.
void sync_file_system([[maybe_unused]] const char *directory)
{
#ifdef __linux__
	int opened = enableFsync ? OpenTransientFile(directory, O_RDONLY | PG_BINARY) : -1;
	if (opened < 0)
		return;
	(void) syncfs(opened);
	CloseTransientFile(opened);
#endif
}

void sync_directory(Oid database, Oid tablespace)
{
	char *path = GetDatabasePath(database, tablespace);
	fsync_fname(path, true);
	get_parent_directory(path);
	fsync_fname(path, true);
	pfree(path);
}

} // namespace

std::vector<Oid> tablespaces_of(const std::vector<Stored> &relations)
{
	std::vector<Oid> found;
	for (const Stored &relation : relations)
		found.push_back(pg::tablespace_of(relation.files));
	std::sort(found.begin(), found.end());
	found.erase(std::unique(found.begin(), found.end()), found.end());
	return found;
}

bool has_contents(const Stored &relation)
{
	return pg::call([&] {
		char path[MAXPGPATH];
		struct stat status;
		segment_path(relation.files, MAIN_FORKNUM, 0, path);
		return stat(path, &status) == 0 && status.st_size > 0;
	});
}

bool can_clone(const Stored &relation, Oid copy)
{
	return pg::call([&] {
		char from[MAXPGPATH], to[MAXPGPATH];
		Oid tablespace = pg::tablespace_of(relation.files);
		char *directory = GetDatabasePath(copy, tablespace);
		segment_path(relation.files, MAIN_FORKNUM, 0, from);
		snprintf(to, sizeof to, "%s/probe", directory);
		TablespaceCreateDbspace(tablespace, copy, false);
		Cloned cloned = clone_file(from, to);
		if (unlink(to) != 0 && errno != ENOENT)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", to)));
		if (rmdir(directory) != 0)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not remove directory \"%s\": %m", directory)));
		if (cloned.error != 0 && !says_never(cloned.error))
			raise(cloned.error, from, to);
		return cloned.error == 0;
	});
}

void write_out(const std::vector<Oid> &tablespaces, bool eagerly)
{
	pg::call([&] {
		FlushDatabaseBuffers(MyDatabaseId);
		for (Oid tablespace : tablespaces)
			if (eagerly)
				sync_file_system(GetDatabasePath(MyDatabaseId, tablespace));
	});
}

void clone_relation(const Stored &relation, Oid copy, const std::function<void(int64)> &progress)
{
	const pg::Locator target = pg::in_database(relation.files, copy);
	pg::call([&] { TablespaceCreateDbspace(pg::tablespace_of(target), copy, false); });
	each_segment([&](int fork, uint32 segment) {
		int64 bytes = pg::call([&] { return clone_segment(relation.files, target, fork, segment); });
		if (bytes >= 0)
			progress(bytes);
		return bytes >= 0;
	});
}

// With wal_level = minimal nobody but crash recovery could replay it.
void log_clones(Oid copy, const std::vector<Oid> &tablespaces)
{
	if (!XLogIsNeeded())
		return;
	pg::call([&] {
		for (Oid tablespace : tablespaces) {
			xl_dbase_create_file_copy_rec record = {};
			record.db_id = copy;
			record.src_db_id = MyDatabaseId;
			record.tablespace_id = record.src_tablespace_id = tablespace;
			XLogBeginInsert();
			XLogRegisterData(reinterpret_cast<char *>(&record), sizeof record);
			(void) XLogInsert(RM_DBASE_ID, XLOG_DBASE_CREATE_FILE_COPY | XLR_SPECIAL_REL_UPDATE);
		}
	});
}

void log_pruned(const PageNumber &page, Oid copy)
{
	if (!XLogIsNeeded())
		return;
	pg::call([&] {
		alignas(io_alignment) static char image[BLCKSZ];
		pg::Locator files = pg::in_database(page.files, copy);
		smgrread(pg::open_files(files), page.fork, page.block, image);
		(void) log_newpage(&files, page.fork, page.block, image, true);
	});
}

void sync_clones(const std::vector<Stored> &relations, Oid copy)
{
	const std::vector<Oid> tablespaces = tablespaces_of(relations);
	pg::call([&] {
		for (Oid tablespace : tablespaces)
			sync_file_system(GetDatabasePath(copy, tablespace));
	});
	for (const Stored &relation : relations) {
		const pg::Locator files = pg::in_database(relation.files, copy);
		each_segment(
			[&](int fork, uint32 segment) { return pg::call([&] { return sync_segment(files, fork, segment); }); });
		check_cancelled();
	}
	pg::call([&] {
		for (Oid tablespace : tablespaces)
			sync_directory(copy, tablespace);
	});
}

} // namespace pgbraid::branch
