#include "pg/prelude.h"

#include "flow/source/outlet.h"

#include "settings/settings.h"

namespace pgbraid::flow {

void Outlet::flush()
{
	if (batch_->empty()) // subjects that it requires wait for the first message: nobody looks at an empty batch
		return;
	batch_->breaks_off(is_in_transaction_);
	bytes_passed_ += batch_->bytes();
	auto next = std::make_unique<core::Batch>(core::Batch::Like{*batch_});
	publisher_.submit(std::exchange(batch_, std::move(next)));
}

void Outlet::submit_and_wait()
{
	flush();
	while (publisher_.progress().unacknowledged_bytes > settings::flow_memory())
		wait_();
}

} // namespace pgbraid::flow
