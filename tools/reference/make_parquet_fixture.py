"""Parquet files as img2dataset writes them with `--output_format parquet`: pyarrow's defaults, a row group every few rows.

    python3 -m pip install pyarrow pillow
    python3 tools/reference/make_parquet_fixture.py crates/relens/tests/fixtures/img2dataset.parquet
    python3 tools/reference/make_parquet_fixture.py crates/relens/tests/fixtures/img2dataset-zstd.parquet zstd

The same with brotli, gzip and lz4; without a name it is Snappy.

Five samples, the third of which could not be downloaded and the fourth of which has no caption.
"""

import io
import sys

import pyarrow
import pyarrow.parquet
from PIL import Image


def picture(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(buffer, "jpeg")
    return buffer.getvalue()


def main() -> None:
    rows = [
        ("000000000", "a red rectangle", picture(5, 4), "success", 5),
        ("000000001", " une image\trouge ", picture(8, 8), "success", 8),
        ("000000002", "it was deleted", None, "failed_to_download", None),
        ("000000003", None, picture(3, 3), "success", 3),
        ("000000004", "一张红色的图片", picture(6, 7), "success", 6),
    ]
    schema = pyarrow.schema(
        [
            ("jpg", pyarrow.binary()), ("caption", pyarrow.string()), ("key", pyarrow.string()),
            ("status", pyarrow.string()), ("width", pyarrow.int32()), ("exif", pyarrow.string()),
        ]
    )  # fmt: skip
    compression = sys.argv[2] if len(sys.argv) > 2 else "snappy"
    with pyarrow.parquet.ParquetWriter(sys.argv[1], schema, compression=compression) as writer:
        for start in range(0, len(rows), 2):
            batch = [
                {"jpg": jpg, "caption": caption, "key": key, "status": status, "width": width, "exif": None}
                for key, caption, jpg, status, width in rows[start : start + 2]
            ]
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


if __name__ == "__main__":
    main()
