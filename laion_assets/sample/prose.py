"""What the sample's pages say around their pictures: titles, menus and paragraphs in each language."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Prose:
    """The fixed words of one language's pages."""

    site: str
    """First folder of the site's paths."""
    titles: tuple[str, ...]
    menu: tuple[tuple[str, str], ...]
    """(path, label) of the links every page has."""
    sentences: tuple[str, ...]
    caption: str
    """Label of a picture's number."""


PROSE: Final[dict[str, Prose]] = {
    "en": Prose(
        "workshop",
        (
            "Shapes for the classroom",
            "Cards & stickers",
            "New arrivals this week",
            "How to read a sign",
            "From the archive",
        ),
        (("/workshop/", "Home"), ("/workshop/news.html", "News"), ("/workshop/terms.html", "Terms, privacy & contact")),
        (
            "Every sheet is printed to order and leaves our workshop within three days.",
            "The first set was made for a school by the river, and teachers have asked for more ever since.",
            "Cut along the outline, fold once, and hang it where the light is good.",
            "We photograph each piece on the table where it was made; colours may differ a little on your screen.",
            "Readers often ask how the collection began. It began with a box of paper and a wet afternoon.",
        ),
        "No.",
    ),
    "de": Prose(
        "werkstatt",
        (
            "Formen für den Unterricht",
            "Karten & Aufkleber",
            "Neu in dieser Woche",
            "Zeichen lesen lernen",
            "Aus dem Archiv",
        ),
        (("/werkstatt/", "Startseite"), ("/werkstatt/neues.html", "Neues"), ("/werkstatt/impressum.html", "Impressum")),
        (
            "Jeder Bogen wird auf Bestellung gedruckt und verlässt die Werkstatt nach spätestens drei Tagen.",
            "Die erste Reihe entstand für eine Grundschule am Fluss; seither fragen Lehrer nach weiteren Blättern.",
            "Schneiden Sie am Rand entlang, falten Sie einmal und hängen Sie das Blatt ins Licht.",
            "Wir fotografieren jedes Stück auf dem Tisch, an dem es gemacht wurde. Größe und Farbe können abweichen.",
        ),
        "Nr.",
    ),
    "fr": Prose(
        "atelier",
        (
            "Des formes pour la classe",
            "Cartes et étiquettes",
            "Les nouveautés de la semaine",
            "Lire un signe",
            "Archives",
        ),
        (
            ("/atelier/", "Accueil"),
            ("/atelier/actualites.html", "Actualités"),
            ("/atelier/mentions.html", "Mentions légales"),
        ),
        (
            "Chaque planche est imprimée à la demande et quitte l'atelier sous trois jours.",
            "La première série est née pour une école au bord de la rivière ; les maîtres en redemandent depuis.",
            "Découpez le long du trait, pliez une fois et accrochez la feuille à la lumière.",
            "Nous photographions chaque pièce là où elle a été faite ; les couleurs peuvent varier à l'écran.",
        ),
        "n°",
    ),
    "es": Prose(
        "taller",
        (
            "Formas para la escuela",
            "Tarjetas y pegatinas",
            "Novedades de la semana",
            "Cómo leer una señal",
            "Del archivo",
        ),
        (("/taller/", "Inicio"), ("/taller/noticias.html", "Noticias"), ("/taller/aviso.html", "Aviso legal")),
        (
            "Cada lámina se imprime por encargo y sale del taller en menos de tres días.",
            "La primera serie se hizo para una escuela junto al río, y desde entonces los maestros piden más.",
            "Recorta por el borde, dobla una vez y cuélgala donde haya buena luz.",
            "Fotografiamos cada pieza en la mesa donde se hizo; los colores pueden cambiar en la pantalla.",
        ),
        "n.º",
    ),
    "ru": Prose(
        "masterskaya",
        ("Фигуры для урока", "Карточки и наклейки", "Новое за неделю", "Как читать знаки", "Из архива"),
        (
            ("/masterskaya/", "Главная"),
            ("/masterskaya/novosti.html", "Новости"),
            ("/masterskaya/kontakty.html", "Контакты"),
        ),
        (
            "Каждый лист печатается на заказ и покидает мастерскую не позднее чем через три дня.",
            "Первый набор сделали для школы у реки, и с тех пор учителя просят продолжения.",
            "Вырежьте по контуру, сложите один раз и повесьте туда, где много света.",
            "Мы снимаем каждую работу на том столе, где она сделана; цвета на экране могут отличаться.",
        ),
        "№",
    ),
    "ja": Prose(
        "kobo",
        ("教室のための図形", "カードとシール", "今週の新着", "記号の読み方", "資料室から"),
        (("/kobo/", "ホーム"), ("/kobo/news.html", "お知らせ"), ("/kobo/contact.html", "お問い合わせ")),
        (
            "すべての紙はご注文を受けてから印刷し、三日以内に工房を出ます。",
            "最初の一組は川沿いの小学校のために作られました。",
            "線に沿って切り、一度折って、明るい場所に飾ってください。",
            "作品は作られた机の上で撮影しています。画面では色が少し違って見えることがあります。",
        ),
        "番号",
    ),
}
