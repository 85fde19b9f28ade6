#include "pg/standby_slots.h"

#include "pg/compat.h"

extern "C" {
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/varlena.h"
}

namespace pgbraid::pg {

namespace {

struct State {
	XLogRecPtr end;
	const char *fault;
};

// As StandbySlotsHaveCaughtup() judges a slot. Under ReplicationSlotControlLock.
State state_of(const char *name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, false);
	if (slot == nullptr)
		return {InvalidXLogRecPtr, "does not exist"};
	if (SlotIsLogical(slot))
		return {InvalidXLogRecPtr, "is no physical slot"};
	SpinLockAcquire(&slot->mutex);
	State state = {slot->data.restart_lsn, slot->active_pid == 0 ? "is not in use" : ""};
	if (is_invalidated(*slot))
		state = {InvalidXLogRecPtr, "has been invalidated"};
	SpinLockRelease(&slot->mutex);
	return state;
}

} // namespace

StandbySlots StandbySlots::of_setting()
{
	StandbySlots found;
	List *names = NIL;
	call([&] {
		const char *setting = standby_slots_setting();
		if (setting != nullptr && !SplitIdentifierString(pstrdup(setting), ',', &names))
			names = NIL; // PostgreSQL has checked it
	});
	for (int i = 0; i < list_length(names); i++)
		found.slots_.emplace_back(static_cast<const char *>(list_nth(names, i)));
	return found;
}

XLogRecPtr StandbySlots::end()
{
	XLogRecPtr least = ~XLogRecPtr{0};
	if (slots_.empty())
		return least;
	size_t last = 0;
	call([&] {
		LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
		for (size_t i = 0; i < slots_.size(); i++) {
			State state = state_of(slots_[i].c_str());
			if (state.end >= least)
				continue;
			least = state.end;
			fault_ = state.fault;
			last = i;
		}
		LWLockRelease(ReplicationSlotControlLock);
	});
	name_ = slots_[last];
	return least;
}

} // namespace pgbraid::pg
