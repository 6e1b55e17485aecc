import pytest

from laion_assets.download import DownloadOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processes", 0),
        ("threads", 0),
        ("deadline_seconds", 0),
        ("max_bytes", 0),
        ("resize_mode", "stretch"),
        ("encode_format", "bmp"),
        ("agent", "two words"),
        ("contact", "me\r\nX-Injected: 1"),
        ("contact", "a (b)"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        DownloadOptions(**{name: value})


def test_png_quality_is_a_compression_level():
    with pytest.raises(ValueError, match="encode_quality"):
        DownloadOptions(encode_format="png", encode_quality=95)


def test_the_agent_names_itself_and_its_contact():
    agent = DownloadOptions(agent="mine", contact="https://example.org/bot").user_agent
    assert agent.startswith("mine/")
    assert "+https://example.org/bot" in agent
    assert "Mozilla" not in agent
