#include "core/flow/outbox.h"

#include "core/base/sqlstate.h"

#include <algorithm>

namespace pgbraid::core {
namespace {

Error went_back(std::uint64_t last, std::uint64_t known)
{
	return {sqlstate::data_corrupted, "the stream lost messages that it had acknowledged",
			"The stream ends at sequence " + std::to_string(last) + ", but its messages up to " +
				std::to_string(known) + " had been acknowledged."};
}

Error foreign(std::uint64_t sequence)
{
	return {sqlstate::not_in_prerequisite_state, "the stream has a message that was not sent by this flow",
			"The message at sequence " + std::to_string(sequence) + " is none of those waiting for acknowledgement."};
}

} // namespace

void Outbox::add(std::unique_ptr<Batch> batch)
{
	std::size_t bytes = batch->bytes(), messages = batch->size();
	batches_.push_back(std::move(batch));
	bytes_ += bytes;
	total_messages_ += messages;
	drop_finished();
	skip_finished();
}

Status Outbox::resume(const StreamTail &tail)
{
	if (!resumed_) {
		resumed_ = true;
		base_ = tail.sequence;
		base_id_ = tail.last;
	} else {
		if (tail.sequence < base_)
			return went_back(tail.sequence, base_);
		if (!is_ours(tail))
			return foreign(tail.sequence);
		store(tail.sequence - base_);
	}
	sent_ = 0;
	send_batch_ = 0;
	send_offset_ = front_offset_;
	skip_finished();
	return Nothing{};
}

std::optional<Outbox::Next> Outbox::next() const
{
	if (!resumed_ || send_batch_ == batches_.size())
		return std::nullopt;
	const Batch &batch = *batches_[send_batch_];
	return Next{batch[send_offset_], base_ + sent_, &batch, send_offset_ == 0, send_offset_ + 1 == batch.size()};
}

Outbox::Group Outbox::next_group(const Limit &most) const
{
	Group whole;			// the transactions that are here
	std::uint64_t here = 0; // with what there is of the one after them
	std::size_t bytes = 0;
	std::optional<Lsn> lsn;
	bool fits = true;
	for (std::size_t b = send_batch_, m = send_offset_; b < batches_.size(); b++, m = 0) {
		for (const Batch &batch = *batches_[b]; m < batch.size(); m++) {
			Batch::Message message = batch[m];
			if (lsn && message.position.lsn != *lsn) {
				if (!fits)
					return {here, false};
				whole = {here, true};
			}
			lsn = message.position.lsn;
			bytes += message.subject.size() + message.id.size() + message.headers.size() + message.payload.size();
			fits = ++here <= most.messages && bytes <= most.bytes;
			if (!fits && whole.is_whole)
				return whole;
		}
	}
	bool breaks_off = here > 0 && batches_.back()->breaks_off();
	if (!fits || (breaks_off && !whole.is_whole && bytes_ > most.memory))
		return {here, false};
	return breaks_off ? whole : Group{here, here > 0};
}

void Outbox::sent() noexcept
{
	assert(resumed_ && send_batch_ < batches_.size());
	sent_++;
	send_offset_++;
	skip_finished();
}

void Outbox::acknowledged(std::uint64_t sequence)
{
	if (sequence <= base_ || sequence > sent_sequence())
		return;
	store(sequence - base_);
}

std::uint64_t Outbox::unacknowledged_messages() const noexcept
{
	return total_messages_ - acknowledged_;
}

bool Outbox::is_ours(const StreamTail &tail) const
{
	if (tail.sequence == base_)
		return !tail.last || !base_id_ || *tail.last == *base_id_;
	std::uint64_t index = tail.sequence - base_ - 1;
	if (index >= unacknowledged_messages())
		return false;
	index += front_offset_;
	auto batch = batches_.begin();
	while (index >= (*batch)->size())
		index -= (*batch++)->size();
	return tail.last == MessageId{history_, (**batch)[index].position};
}

void Outbox::store(std::uint64_t count)
{
	if (count == 0)
		return;
	base_ += count;
	acknowledged_ += count;
	sent_ -= std::min(sent_, count);
	std::uint64_t stored = front_offset_ + count;
	while (stored > batches_.front()->size()) {
		stored -= batches_.front()->size();
		drop_front();
	}
	front_offset_ = stored;
	base_id_ = MessageId{history_, (*batches_.front())[stored - 1].position};
	drop_finished();
}

void Outbox::drop_finished() noexcept
{
	while (!batches_.empty() && front_offset_ == batches_.front()->size())
		drop_front();
}

void Outbox::drop_front() noexcept
{
	complete_ = std::max(complete_, batches_.front()->complete_up_to());
	bytes_ -= batches_.front()->bytes();
	batches_.pop_front();
	front_offset_ = 0;
	if (send_batch_ > 0)
		send_batch_--;
}

void Outbox::skip_finished() noexcept
{
	while (send_batch_ < batches_.size() && send_offset_ == batches_[send_batch_]->size()) {
		send_batch_++;
		send_offset_ = 0;
	}
}

} // namespace pgbraid::core
