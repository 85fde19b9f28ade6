// Where events leave the decoder: gathers messages into batches and hands them to the publisher, and waits when too
// much is unacknowledged.
#pragma once
#include "core/flow/batch.h"
#include "nats/publisher.h"

#include <functional>
#include <memory>

namespace pgbraid::flow {

class Outlet {
public:
	// `wait` sleeps until the publisher may have made room; `look_up` does what else there is to do, now and then,
	// without sleeping. Both may throw.
	Outlet(nats::Publisher &publisher, std::function<void()> wait, std::function<void()> look_up)
		: publisher_(publisher), wait_(std::move(wait)), look_up_(std::move(look_up))
	{
	}

	core::Batch &batch() noexcept { return *batch_; }

	// After each message: passes the batch on when it is big enough, and then waits for room.
	void message_added()
	{
		if (may_wait_ && batch_->bytes() >= batch_bytes)
			submit_and_wait();
		else if (++messages_ % 1024 == 0)
			look_up_();
	}

	// Between these two, what is passed on breaks off in the middle of a transaction.
	void begin() noexcept { is_in_transaction_ = true; }

	// Every commit up to this end LSN has been encoded. Nothing is sent for it alone.
	void commit(core::Lsn end_lsn) noexcept
	{
		is_in_transaction_ = false;
		committed_ = end_lsn;
		batch_->complete_up_to(end_lsn);
	}

	// While a table is being read nothing waits for NATS, nor goes there: a transaction is open, with a snapshot of the
	// database, and at its end is noted what must be known before.
	void may_wait(bool may) noexcept { may_wait_ = may; }

	// Passes on what there is; before every sleep.
	void flush();

	// The end of the last commit that was encoded; 0 before the first.
	core::Lsn committed() const noexcept { return committed_; }

	uint64_t bytes_passed() const noexcept { return bytes_passed_ + batch_->bytes(); } // ever, the open batch included

	// Nothing is waiting here or in the publisher.
	bool is_empty() const { return batch_->empty() && publisher_.progress().unacknowledged_messages == 0; }

private:
	static constexpr size_t batch_bytes = 64 * 1024;
	void submit_and_wait();

	nats::Publisher &publisher_;
	std::function<void()> wait_, look_up_;
	unsigned messages_ = 0;
	bool may_wait_ = true, is_in_transaction_ = false;
	uint64_t bytes_passed_ = 0;
	std::unique_ptr<core::Batch> batch_ = std::make_unique<core::Batch>();
	core::Lsn committed_ = 0;
};

} // namespace pgbraid::flow
