#!/usr/bin/env python3
"""A page blob seen through the Python storage SDK, which shares no line of code with what is tested.

    blobs.py ENDPOINT container NAME          makes a container
    blobs.py ENDPOINT write CONTAINER/BLOB    carries out changes given as JSON on stdin, makes the blob if need be
    blobs.py ENDPOINT read CONTAINER/BLOB DIR downloads every snapshot into DIR, a file each

`write` wants {"image": path, "size": bytes, "writes": [[start, end]], "clears": [[start, end]]}.
`read` prints a JSON line for each snapshot, oldest first: its name, size, metadata, allocated ranges, and its file.
"""
import json
import os
import sys

from azure.storage.blob import BlobServiceClient

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
REQUEST_BYTES_MAX = 4 << 20


def write(blob):
    plan = json.load(sys.stdin)
    if not blob.exists():
        blob.create_page_blob(plan["size"])
    elif blob.get_blob_properties().size != plan["size"]:
        blob.resize_blob(plan["size"])
    with open(plan["image"], "rb") as image:
        for start, end in plan["writes"]:
            for at in range(start, end, REQUEST_BYTES_MAX):
                image.seek(at)
                data = image.read(min(end - at, REQUEST_BYTES_MAX))
                blob.upload_page(data, offset=at, length=len(data))
    for start, end in plan["clears"]:
        blob.clear_page(offset=start, length=end - start)


def read(service, container, name, directory):
    listed = service.get_container_client(container).list_blobs(name_starts_with=name, include=["snapshots", "metadata"])
    snapshots = sorted((b for b in listed if b.name == name and b.snapshot), key=lambda b: b.snapshot)
    for number, listing in enumerate(snapshots):
        blob = service.get_blob_client(container, name, snapshot=listing.snapshot)
        path = os.path.join(directory, f"{number}.vhd")
        with open(path, "wb") as file:
            blob.download_blob(max_concurrency=2).readinto(file)
        pages = [[r.start, r.end + 1] for r in blob.list_page_ranges()]
        line = {"snapshot": listing.snapshot, "size": listing.size, "metadata": listing.metadata}
        print(json.dumps({**line, "pages": pages, "file": path}), flush=True)


def main():
    endpoint, verb, what, *rest = sys.argv[1:]
    size = 4 << 20
    service = BlobServiceClient(endpoint, credential={"account_name": ACCOUNT, "account_key": KEY},
                                max_single_get_size=size, max_chunk_get_size=size)
    if verb == "container":
        service.create_container(what)
        return
    container, name = what.split("/", 1)
    if verb == "write":
        write(service.get_blob_client(container, name))
    elif verb == "read":
        read(service, container, name, *rest)
    else:
        sys.exit(f"unknown verb {verb}")


if __name__ == "__main__":
    main()
