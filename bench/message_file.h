// Messages in a file: what stream writes and publish_ceiling reads. Each has four lengths and then, each with a zero
// byte after it, its subject, its headers (name, zero byte, value, zero byte, ...) and its payload.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct message_head {
	uint32_t subject, headers, payload;
};

static inline size_t headers_size(const char *headers)
{
	size_t size = 0;
	while (headers[size] != '\0')
		size += strlen(headers + size) + 1;
	return size;
}

static inline void write_message(FILE *file, const char *subject, const char *headers, const char *payload, size_t size)
{
	struct message_head head = {(uint32_t) strlen(subject), (uint32_t) headers_size(headers), (uint32_t) size};
	fwrite(&head, sizeof head, 1, file);
	fwrite(subject, head.subject + 1, 1, file);
	fwrite(headers, head.headers, 1, file);
	fwrite("", 1, 1, file);
	fwrite(payload, size, 1, file);
	fwrite("", 1, 1, file);
}
