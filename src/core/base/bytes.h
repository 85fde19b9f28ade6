// An append-only buffer of bytes. Unlike std::string it does not clear what it is about to overwrite, and writers can
// ask for room once and then fill it. Growing throws std::bad_alloc; nothing else does.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace pgbraid::core {

class Bytes {
public:
	Bytes() noexcept = default;
	Bytes(Bytes &&other) noexcept { swap(other); }
	Bytes &operator=(Bytes &&other) noexcept
	{
		swap(other);
		return *this;
	}
	Bytes(const Bytes &) = delete;
	Bytes &operator=(const Bytes &) = delete;
	~Bytes() { std::free(data_); }

	const char *data() const noexcept { return data_; }
	std::size_t size() const noexcept { return size_; }
	bool empty() const noexcept { return size_ == 0; }
	std::string_view view(std::size_t from = 0) const noexcept { return {data_ + from, size_ - from}; }
	std::string_view view(std::size_t from, std::size_t size) const noexcept { return {data_ + from, size}; }

	// Room for `size` more bytes at the returned address; commit(end) takes what was written up to `end`.
	char *reserve(std::size_t size)
	{
		if (capacity_ - size_ < size)
			grow(size);
		return data_ + size_;
	}
	void commit(const char *end) noexcept { size_ = static_cast<std::size_t>(end - data_); }

	void append(char byte)
	{
		*reserve(1) = byte;
		size_++;
	}
	void append(std::string_view bytes)
	{
		char *to = reserve(bytes.size());
		if (!bytes.empty())
			std::memcpy(to, bytes.data(), bytes.size());
		size_ += bytes.size();
	}

	void truncate(std::size_t size) noexcept { size_ = size; }
	void remove_prefix(std::size_t size) noexcept
	{
		size_ -= size;
		if (size_ > 0)
			std::memmove(data_, data_ + size, size_);
	}
	void clear() noexcept { size_ = 0; }

private:
	void swap(Bytes &other) noexcept
	{
		std::swap(data_, other.data_);
		std::swap(size_, other.size_);
		std::swap(capacity_, other.capacity_);
	}
	void grow(std::size_t size)
	{
		std::size_t capacity = capacity_ + capacity_ / 2;
		if (capacity < size_ + size)
			capacity = size_ + size;
		if (capacity < 256)
			capacity = 256;
		auto *data = static_cast<char *>(std::realloc(data_, capacity));
		if (data == nullptr)
			throw std::bad_alloc();
		data_ = data;
		capacity_ = capacity;
	}

	char *data_ = nullptr;
	std::size_t size_ = 0;
	std::size_t capacity_ = 0;
};

} // namespace pgbraid::core
