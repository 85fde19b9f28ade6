#include "pg/shared_memory.h"

extern "C" {
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
}

#include <vector>

namespace pgbraid::pg {

namespace {

shmem_request_hook_type next_request = nullptr;
shmem_startup_hook_type next_startup = nullptr;

std::vector<SharedArea> &areas()
{
	static std::vector<SharedArea> all;
	return all;
}

void request()
{
	if (next_request)
		next_request();
	for (const SharedArea &area : areas()) {
		RequestAddinShmemSpace(area.size());
		RequestNamedLWLockTranche(area.name, 1);
	}
}

void startup()
{
	if (next_startup)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (const SharedArea &area : areas()) {
		bool exists;
		void *memory = ShmemInitStruct(area.name, area.size(), &exists);
		if (!exists)
			area.begin(memory, &GetNamedLWLockTranche(area.name)->lock);
		area.attach(memory);
	}
	LWLockRelease(AddinShmemInitLock);
}

} // namespace

void add_shared_area(const SharedArea &area)
{
	if (areas().empty()) {
		next_request = shmem_request_hook;
		shmem_request_hook = request;
		next_startup = shmem_startup_hook;
		shmem_startup_hook = startup;
	}
	areas().push_back(area);
}

} // namespace pgbraid::pg
