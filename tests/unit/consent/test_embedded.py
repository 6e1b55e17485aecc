"""Pictures that say themselves what they may be used for."""

import datetime
import io
import json
import socket
from functools import cache
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from laion_assets.consent import embedded
from laion_assets.consent.embedded import said_within
from laion_assets.consent.signals import Said
from laion_assets.images.decode import rgb_picture

VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"{attribute}>{element}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


def xmp(term: str, *, element: bool = False) -> bytes:
    return XMP.format(
        attribute="" if element else f' plus:DataMining="{term}"',
        element=f"<plus:DataMining>{term}</plus:DataMining>" if element else "",
    ).encode()


def picture(file_format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(file, file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("term", "forbids"),
    [
        ("DMI-PROHIBITED", {"train", "index"}),
        ("DMI-PROHIBITED-AIMLTRAINING", {"train"}),
        ("DMI-PROHIBITED-GENAIMLTRAINING", {"train"}),
        ("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", {"train"}),
        ("DMI-PROHIBITED-SEECONSTRAINT", {"train", "index"}),
        ("DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR", {"train", "index"}),
        ("DMI-PROHIBITED-SEELINKEDRIGHTSEXPR", {"train", "index"}),
        ("DMI-ALLOWED", set()),
    ],
)
def test_every_term_of_plus_is_understood(term: str, forbids: set[str]) -> None:
    """The vocabulary of PLUS, https://ns.useplus.org/LDF/ldf-XMPSpecification, as IPTC's Data Mining uses it."""
    for body in (picture(xmp=xmp(VOCABULARY + term)), picture(xmp=xmp(term, element=True))):
        [said] = said_within(body)
        assert (said.signal, said.raw, set(said.forbids)) == ("iptc_data_mining", term, forbids)
        assert said.allows == (not forbids)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG"])
def test_it_is_read_in_every_format(file_format: str) -> None:
    packet = xmp(f"{VOCABULARY}DMI-PROHIBITED-AIMLTRAINING")
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    body = picture(file_format, **({"pnginfo": info} if file_format == "PNG" else {"xmp": packet}))
    assert [said.forbids for said in said_within(body)] == [("train",)]


def test_utf_16_counts_and_what_is_not_specified_says_nothing() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        wide = xmp(f"{VOCABULARY}DMI-PROHIBITED").decode().encode(encoding)
        assert [said.raw for said in said_within(picture() + wide)] == ["DMI-PROHIBITED"]
    assert said_within(picture(xmp=xmp(f"{VOCABULARY}DMI-UNSPECIFIED"))) == []
    assert said_within(picture()) == []


def test_the_strictest_of_several_terms_holds() -> None:
    body = picture(xmp=xmp(f"{VOCABULARY}DMI-ALLOWED")) + xmp(f"{VOCABULARY}DMI-PROHIBITED")
    assert [said.raw for said in said_within(body)] == ["DMI-PROHIBITED"]


@cache
def signer() -> Any:
    """Somebody whom nobody trusts: a certificate of an authority that was made a moment ago."""
    c2pa = pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text), x509.NameAttribute(NameOID.COMMON_NAME, text)]
        )

    def certificate(subject: str, key: Any, issuer: str, issuer_key: Any, *, authority: bool) -> x509.Certificate:
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        built = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not authority:
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            built = built.add_extension(purpose, critical=True)
        return built.sign(issuer_key, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Root", root_key, "Root", root_key, authority=True)
    leaf = certificate("Photographer", key, "Root", root_key, authority=False)
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, root))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, pem, None))


@cache
def offline() -> Any:
    c2pa = pytest.importorskip("c2pa")
    return c2pa.Context(
        c2pa.Settings.from_dict({"verify": {"verify_trust": False}, "builder": {"thumbnail": {"enabled": False}}})
    )


def manifest(*assertions: dict[str, Any]) -> str:
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": source}]}
    about = {"claim_generator_info": [{"name": "test", "version": "1"}]}
    return json.dumps(about | {"assertions": [{"label": "c2pa.actions", "data": actions}, *assertions]})


def signed(label: str, entries: dict[str, dict[str, str]], file_format: str = "JPEG") -> bytes:
    """A picture with a C2PA manifest, made by the standard's own library."""
    c2pa = pytest.importorskip("c2pa")
    made = io.BytesIO()
    with c2pa.Builder(manifest({"label": label, "data": {"entries": entries}}), context=offline()) as builder:
        builder.sign(signer(), f"image/{file_format.lower()}", io.BytesIO(picture(file_format)), made)
    return made.getvalue()


USES = {"data_mining": "train", "ai_training": "train", "ai_generative_training": "train", "ai_inference": "index"}


@pytest.mark.parametrize("owner", ["c2pa", "cawg"])
@pytest.mark.parametrize("entry", USES)
@pytest.mark.parametrize("use", ["notAllowed", "constrained", "allowed"])
def test_every_entry_of_both_assertions_is_read_from_whoever_signed_it(owner: str, entry: str, use: str) -> None:
    body = signed(f"{owner}.training-mining", {f"{owner}.{entry}": {"use": use}})
    assert said_within(body) == [
        Said("c2pa", f"{entry}={use}", use == "allowed", () if use == "allowed" else (USES[entry],))  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_manifests_are_read_in_other_formats(file_format: str) -> None:
    body = signed("cawg.training-mining", {"cawg.ai_training": {"use": "notAllowed"}}, file_format)
    assert [said.forbids for said in said_within(body, f"image/{file_format.lower()}")] == [("train",)]


def test_a_manifest_without_a_word_on_training_says_nothing() -> None:
    assert said_within(signed("org.example.note", {})) == []


def test_a_no_that_cannot_be_read_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    no = signed("c2pa.training-mining", {"c2pa.ai_training": {"use": "notAllowed"}})
    yes = signed("c2pa.training-mining", {"c2pa.ai_training": {"use": "allowed"}})
    cut = no[: no.index(b"notAllowed") + 40]
    assert [said.forbids for said in said_within(cut)] == [("train",)]
    assert said_within(no, "image/png")[0].forbids == ("train",), "served under a wrong type"
    monkeypatch.setattr(embedded, "_c2pa", lambda: None)
    assert [said.forbids for said in said_within(no)] == [("train",)]
    assert said_within(yes) == [], "without the reader a yes is not known, and nothing else"


def test_encoding_a_picture_again_drops_what_it_said() -> None:
    """Why it is read from the bytes as they were fetched."""
    body = signed("c2pa.training-mining", {"c2pa.ai_training": {"use": "notAllowed"}})
    again = io.BytesIO()
    with rgb_picture(body) as opened:
        opened.save(again, "JPEG")
    assert said_within(again.getvalue()) == []


def test_nobody_is_asked_for_a_manifest_that_lies_elsewhere() -> None:
    c2pa = pytest.importorskip("c2pa")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        made = io.BytesIO()
        with c2pa.Builder(manifest(), context=offline()) as builder:
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{server.getsockname()[1]}/manifest")
            builder.sign(signer(), "image/jpeg", io.BytesIO(picture()), made)
        assert b"/manifest" in made.getvalue()
        assert said_within(made.getvalue() + b"c2pa.training-mining notAllowed")[0].forbids == ("train",)
        with pytest.raises(TimeoutError):
            server.accept()
