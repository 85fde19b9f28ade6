#include "core/flow/oversize.h"

#include "core/flow/event.h"

#include <algorithm>

namespace pgbraid::core {
std::string headers_before(std::string_view headers, std::string_view snapshot_before)
{
	constexpr std::string_view name = header::snapshot, line_end = "\r\n";
	std::string before{headers};
	auto at = before.find(name);
	if (at == before.npos)
		return before;
	auto end = before.find(line_end, at);
	if (snapshot_before.empty())
		before.erase(at, end + line_end.size() - at);
	else
		before.replace(at + name.size(), end - at - name.size(), snapshot_before);
	return before;
}

Oversize::Oversize(OversizeMode mode, History history, std::size_t max_payload, const StreamTail &tail)
	: mode_(mode), history_(std::move(history)), max_payload_(max_payload),
	  limit_(max_payload - std::min(max_payload / 2, headers_room))
{
	if (tail.last && tail.last->history == history_ && tail.last->position.part != Position::whole) {
		tail_ = tail.last->position;
		piece_ = tail.piece;
		tail_subject_ = tail.subject;
	}
}

// A flow that ended amid the pieces goes on with the next one if it would cut the same payload in the same way. Else
// the pieces begin anew, but none gets an id that the stream has already.
void Oversize::split(Batch &batch, std::string_view snapshot_before)
{
	const Batch::Message message = batch[batch.size() - 1];
	std::size_t most = limit_ - std::min(limit_ / 2, message.headers.size());
	Division division = divide(message.payload, most);
	std::uint32_t first = 1, part = 1;
	if (tail_.lsn == message.position.lsn && tail_.seq == message.position.seq) {
		part = tail_.part + 1;
		if (piece_ && piece_->division == division && tail_subject_ == message.subject)
			first = piece_->number + 1;
	}
	batch.split_last(history_, division, first, part, headers_before(message.headers, snapshot_before));
}

} // namespace pgbraid::core
