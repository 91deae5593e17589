"""The words of the participants' pages, in the four languages that they speak; `pages.py` puts them on the page."""

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "fr", "es", "de"]
Notice = Literal["not_open", "ended", "bad_link", "other_device", "refused", "failed", "spent", "not_asked"]


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that the pages say, in one language; a notice is its heading and its text.

    `several_devices` has the number of devices as `{count}`. `steps` are what to do on the other device to get a code;
    they and `choice` quote the buttons `proceed` and `move`.
    """

    invited: str
    one_device: str
    several_devices: str
    start: str
    cookie: str
    stale: str
    way_on: str
    ask: str
    enter_heading: str
    steps: tuple[str, str, str]
    figures: str
    enter: str
    ask_again: str
    wrong: str
    stale_code: str
    choice_heading: str
    choice: tuple[str, str]
    proceed: str
    move: str
    code_heading: str
    code_use: str
    code_care: str
    stay: str
    notices: dict[Notice, tuple[str, str]]


WORDS: dict[Language, Words] = {
    "en": Words(
        invited="You are invited to take part in",
        one_device="This link is yours alone. Once you start, it works only on this device and in this browser.",
        several_devices="This link is yours alone. It works on {count} devices at most. "
        "Once you start, this device and this browser are one of them.",
        start="Start",
        cookie="When you start, one cookie is kept on this device so that you can come back. "
        "It holds no personal information.",
        stale="This page had been open for a while. Please press Start once more.",
        way_on="Would you rather go on here? Then have the other device at hand: it will show you a code.",
        ask="Ask for a code",
        enter_heading="Enter the code from the other device",
        steps=(
            "Within five minutes, open your link on the device and in the browser where you started.",
            "Choose “Use another device” there.",
            "You are shown six figures there. Enter them here.",
        ),
        figures="Six-figure code",
        enter="Use this device",
        ask_again="Ask once more",
        wrong="This code does not work. Each code works once, for ten minutes, and not after five wrong tries. "
        "Please check it, or ask once more.",
        stale_code="This page had been open for a while. Please enter the code once more.",
        choice_heading="Continue here, or on another device?",
        choice=(
            "Your link was opened on another device, which asked to take it over. "
            "If that was not you, choose “Continue”: nothing changes.",
            "If it was you, choose “Use another device”: you get a code to enter there. "
            "Your link then works there, and no longer here.",
        ),
        proceed="Continue",
        move="Use another device",
        code_heading="Your code",
        code_use="Enter it on the other device within ten minutes. Your link then works there, and no longer here.",
        code_care="Tell it to nobody. The people who invited you will never ask for it.",
        stay="Changed your mind? Then go on here.",
        notices={
            "not_open": (
                "Not open yet",
                "This conversation has not started yet. Please come back later with the same link.",
            ),
            "ended": (
                "This conversation has ended",
                "It is no longer possible to take part. Thank you for your interest.",
            ),
            "bad_link": (
                "This link does not work",
                "Part of it may be missing. Please open it again from your invitation, "
                "or copy the whole link into the address bar.",
            ),
            "other_device": (
                "This link is in use on another device",
                "It works only on the device and in the browser where it was started. Please continue there, "
                "or ask the people who invited you to let you change devices.",
            ),
            "refused": (
                "Nothing was started",
                "The request came from another website, so it was stopped for your protection. "
                "Please open the link from your invitation again.",
            ),
            "failed": (
                "Something went wrong",
                "Nothing was lost. Please try again in a moment with the same link.",
            ),
            "spent": (
                "No more codes today",
                "A code has been asked for too often. Your link goes on working where it was started. "
                "Please continue there, try again tomorrow, "
                "or ask the people who invited you to let you change devices.",
            ),
            "not_asked": (
                "No other device is waiting for a code",
                "A code can be shown for five minutes after another device has asked for it. "
                "Your link goes on working here. "
                "To change devices, ask for a code on the other device once more.",
            ),
        },
    ),
    "fr": Words(
        invited="Vous êtes invité·e à participer à",
        one_device="Ce lien vous est personnel. Dès que vous aurez commencé, il ne fonctionnera que sur cet appareil "
        "et dans ce navigateur.",
        several_devices="Ce lien vous est personnel. Il fonctionne sur {count} appareils au plus. "
        "Dès que vous aurez commencé, cet appareil et ce navigateur en feront partie.",
        start="Commencer",
        cookie="Au démarrage, un cookie est conservé sur cet appareil pour que vous puissiez revenir. "
        "Il ne contient aucune information personnelle.",
        stale="Cette page est restée ouverte un certain temps. Veuillez appuyer encore une fois sur Commencer.",
        way_on="Vous préférez continuer ici ? Gardez l’autre appareil à portée de main : il vous montrera un code.",
        ask="Demander un code",
        enter_heading="Saisissez le code de l’autre appareil",
        steps=(
            "Dans les cinq minutes, ouvrez votre lien sur l’appareil et dans le navigateur où vous avez commencé.",
            "Choisissez-y « Utiliser un autre appareil ».",
            "Six chiffres s’y affichent. Saisissez-les ici.",
        ),
        figures="Code à six chiffres",
        enter="Utiliser cet appareil",
        ask_again="Demander à nouveau",
        wrong="Ce code ne fonctionne pas. Un code sert une seule fois, pendant dix minutes, et plus après cinq "
        "erreurs. Veuillez le vérifier ou demander à nouveau.",
        stale_code="Cette page est restée ouverte un certain temps. Veuillez saisir le code encore une fois.",
        choice_heading="Continuer ici ou sur un autre appareil ?",
        choice=(
            "Votre lien a été ouvert sur un autre appareil, qui demande à le reprendre. "
            "Si ce n’était pas vous, choisissez « Continuer » : rien ne change.",
            "Si c’était vous, choisissez « Utiliser un autre appareil » : vous recevrez un code à saisir là-bas. "
            "Votre lien fonctionnera alors sur cet autre appareil, et plus ici.",
        ),
        proceed="Continuer",
        move="Utiliser un autre appareil",
        code_heading="Votre code",
        code_use="Saisissez-le sur l’autre appareil dans les dix minutes. "
        "Votre lien fonctionnera alors là-bas, et plus ici.",
        code_care="Ne le communiquez à personne. Les personnes qui vous ont invité·e ne vous le demanderont jamais.",
        stay="Vous avez changé d’avis ? Continuez ici.",
        notices={
            "not_open": (
                "Pas encore ouvert",
                "Cette conversation n’a pas encore commencé. Veuillez revenir plus tard avec le même lien.",
            ),
            "ended": (
                "Cette conversation est terminée",
                "Il n’est plus possible d’y participer. Merci de votre intérêt.",
            ),
            "bad_link": (
                "Ce lien ne fonctionne pas",
                "Il en manque peut-être une partie. Veuillez l’ouvrir de nouveau depuis votre invitation "
                "ou copier le lien entier dans la barre d’adresse.",
            ),
            "other_device": (
                "Ce lien est utilisé sur un autre appareil",
                "Il ne fonctionne que sur l’appareil et dans le navigateur où vous avez commencé. "
                "Veuillez y continuer, ou demandez aux personnes qui vous ont invité·e "
                "de vous permettre de changer d’appareil.",
            ),
            "refused": (
                "Rien n’a été démarré",
                "La demande venait d’un autre site ; elle a été bloquée pour votre protection. "
                "Veuillez ouvrir de nouveau le lien de votre invitation.",
            ),
            "failed": (
                "Un problème est survenu",
                "Rien n’a été perdu. Veuillez réessayer dans un instant avec le même lien.",
            ),
            "spent": (
                "Plus de code aujourd’hui",
                "Un code a été demandé trop souvent. Votre lien continue de fonctionner là où vous avez commencé. "
                "Veuillez y continuer, réessayer demain, ou demander aux personnes qui vous ont invité·e "
                "de vous permettre de changer d’appareil.",
            ),
            "not_asked": (
                "Aucun autre appareil n’attend de code",
                "Un code peut être affiché pendant cinq minutes après la demande d’un autre appareil. "
                "Votre lien continue de fonctionner ici. "
                "Pour changer d’appareil, demandez à nouveau un code sur l’autre appareil.",
            ),
        },
    ),
    "es": Words(
        invited="Le invitamos a participar en",
        one_device="Este enlace es personal. Una vez que empiece, solo funcionará en este dispositivo "
        "y en este navegador.",
        several_devices="Este enlace es personal. Funciona en {count} dispositivos como máximo. "
        "Una vez que empiece, este dispositivo y este navegador serán uno de ellos.",
        start="Empezar",
        cookie="Al empezar, se guarda una cookie en este dispositivo para que pueda volver. "
        "No contiene información personal.",
        stale="Esta página llevaba un tiempo abierta. Pulse Empezar una vez más.",
        way_on="¿Prefiere seguir aquí? Tenga a mano el otro dispositivo: le mostrará un código.",
        ask="Pedir un código",
        enter_heading="Introduzca el código del otro dispositivo",
        steps=(
            "Antes de cinco minutos, abra su enlace en el dispositivo y en el navegador donde empezó.",
            "Elija allí «Usar otro dispositivo».",
            "Allí verá seis cifras. Introdúzcalas aquí.",
        ),
        figures="Código de seis cifras",
        enter="Usar este dispositivo",
        ask_again="Pedir otra vez",
        wrong="Este código no funciona. Cada código sirve una sola vez, durante diez minutos, y no después de cinco "
        "intentos fallidos. Compruébelo o pida otra vez.",
        stale_code="Esta página llevaba un tiempo abierta. Introduzca el código una vez más.",
        choice_heading="¿Continuar aquí o en otro dispositivo?",
        choice=(
            "Su enlace se abrió en otro dispositivo, que pidió usarlo. "
            "Si no fue usted, elija «Continuar»: no cambia nada.",
            "Si fue usted, elija «Usar otro dispositivo»: recibirá un código para introducirlo allí. "
            "Su enlace funcionará entonces allí, y ya no aquí.",
        ),
        proceed="Continuar",
        move="Usar otro dispositivo",
        code_heading="Su código",
        code_use="Introdúzcalo en el otro dispositivo antes de diez minutos. "
        "Su enlace funcionará entonces allí, y ya no aquí.",
        code_care="No se lo diga a nadie. Quienes le invitaron nunca se lo pedirán.",
        stay="¿Ha cambiado de idea? Siga aquí.",
        notices={
            "not_open": (
                "Todavía no está abierta",
                "Esta conversación aún no ha empezado. Vuelva más tarde con el mismo enlace.",
            ),
            "ended": (
                "Esta conversación ha terminado",
                "Ya no es posible participar. Gracias por su interés.",
            ),
            "bad_link": (
                "Este enlace no funciona",
                "Puede que falte una parte. Ábralo de nuevo desde su invitación "
                "o copie el enlace completo en la barra de direcciones.",
            ),
            "other_device": (
                "Este enlace se está usando en otro dispositivo",
                "Solo funciona en el dispositivo y en el navegador donde se empezó. Continúe allí "
                "o pida a quienes le invitaron que le permitan cambiar de dispositivo.",
            ),
            "refused": (
                "No se ha iniciado nada",
                "La solicitud venía de otro sitio web y se detuvo para protegerle. "
                "Abra de nuevo el enlace de su invitación.",
            ),
            "failed": (
                "Algo ha salido mal",
                "No se ha perdido nada. Vuelva a intentarlo dentro de un momento con el mismo enlace.",
            ),
            "spent": (
                "Hoy no hay más códigos",
                "Se ha pedido un código demasiadas veces. Su enlace sigue funcionando donde se empezó. "
                "Continúe allí, inténtelo de nuevo mañana "
                "o pida a quienes le invitaron que le permitan cambiar de dispositivo.",
            ),
            "not_asked": (
                "Ningún otro dispositivo espera un código",
                "Un código se puede mostrar durante cinco minutos después de que otro dispositivo lo pida. "
                "Su enlace sigue funcionando aquí. "
                "Para cambiar de dispositivo, pida otra vez un código en el otro dispositivo.",
            ),
        },
    ),
    "de": Words(
        invited="Sie sind eingeladen, teilzunehmen an",
        one_device="Dieser Link ist nur für Sie. Sobald Sie starten, funktioniert er nur noch auf diesem Gerät "
        "und in diesem Browser.",
        several_devices="Dieser Link ist nur für Sie. Er funktioniert auf höchstens {count} Geräten. "
        "Sobald Sie starten, gehören dieses Gerät und dieser Browser dazu.",
        start="Starten",
        cookie="Beim Start wird auf diesem Gerät ein Cookie gespeichert, damit Sie zurückkehren können. "
        "Es enthält keine persönlichen Daten.",
        stale="Diese Seite war eine Weile geöffnet. Bitte tippen Sie noch einmal auf Starten.",
        way_on="Möchten Sie lieber hier weitermachen? Dann halten Sie das andere Gerät bereit: "
        "Es zeigt Ihnen einen Code.",
        ask="Code anfordern",
        enter_heading="Geben Sie den Code vom anderen Gerät ein",
        steps=(
            "Öffnen Sie innerhalb von fünf Minuten Ihren Link auf dem Gerät und in dem Browser, "
            "in dem Sie gestartet haben.",
            "Wählen Sie dort „Anderes Gerät verwenden“.",
            "Dort sehen Sie sechs Ziffern. Geben Sie diese hier ein.",
        ),
        figures="Sechsstelliger Code",
        enter="Dieses Gerät verwenden",
        ask_again="Noch einmal anfordern",
        wrong="Dieser Code funktioniert nicht. Jeder Code gilt einmal, zehn Minuten lang "
        "und nicht mehr nach fünf Fehlversuchen. "
        "Bitte prüfen Sie ihn oder fordern Sie noch einmal einen an.",
        stale_code="Diese Seite war eine Weile geöffnet. Bitte geben Sie den Code noch einmal ein.",
        choice_heading="Hier weitermachen oder auf einem anderen Gerät?",
        choice=(
            "Ihr Link wurde auf einem anderen Gerät geöffnet, das ihn übernehmen möchte. "
            "Wenn Sie das nicht waren, wählen Sie „Weiter“: Es ändert sich nichts.",
            "Wenn Sie es waren, wählen Sie „Anderes Gerät verwenden“: Sie erhalten einen Code, den Sie dort eingeben. "
            "Ihr Link funktioniert dann dort und nicht mehr hier.",
        ),
        proceed="Weiter",
        move="Anderes Gerät verwenden",
        code_heading="Ihr Code",
        code_use="Geben Sie ihn innerhalb von zehn Minuten auf dem anderen Gerät ein. "
        "Ihr Link funktioniert dann dort und nicht mehr hier.",
        code_care="Geben Sie ihn niemandem weiter. Wer Sie eingeladen hat, fragt Sie nie danach.",
        stay="Doch lieber hier? Dann machen Sie hier weiter.",
        notices={
            "not_open": (
                "Noch nicht geöffnet",
                "Dieses Gespräch hat noch nicht begonnen. Bitte kommen Sie später mit demselben Link wieder.",
            ),
            "ended": (
                "Dieses Gespräch ist beendet",
                "Eine Teilnahme ist nicht mehr möglich. Vielen Dank für Ihr Interesse.",
            ),
            "bad_link": (
                "Dieser Link funktioniert nicht",
                "Vielleicht fehlt ein Teil davon. Bitte öffnen Sie ihn noch einmal aus Ihrer Einladung "
                "oder kopieren Sie den ganzen Link in die Adresszeile.",
            ),
            "other_device": (
                "Dieser Link wird auf einem anderen Gerät verwendet",
                "Er funktioniert nur auf dem Gerät und in dem Browser, in dem gestartet wurde. Bitte machen Sie dort "
                "weiter oder bitten Sie die Personen, die Sie eingeladen haben, einen Gerätewechsel zu erlauben.",
            ),
            "refused": (
                "Es wurde nichts gestartet",
                "Die Anfrage kam von einer anderen Website und wurde zu Ihrem Schutz gestoppt. "
                "Bitte öffnen Sie den Link aus Ihrer Einladung noch einmal.",
            ),
            "failed": (
                "Etwas ist schiefgelaufen",
                "Es ging nichts verloren. Bitte versuchen Sie es gleich noch einmal mit demselben Link.",
            ),
            "spent": (
                "Heute keine weiteren Codes",
                "Es wurde zu oft ein Code angefordert. Ihr Link funktioniert weiter dort, wo gestartet wurde. "
                "Bitte machen Sie dort weiter, versuchen Sie es morgen noch einmal oder bitten Sie die Personen, "
                "die Sie eingeladen haben, einen Gerätewechsel zu erlauben.",
            ),
            "not_asked": (
                "Kein anderes Gerät wartet auf einen Code",
                "Ein Code lässt sich fünf Minuten lang anzeigen, nachdem ihn ein anderes Gerät angefordert hat. "
                "Ihr Link funktioniert hier weiter. "
                "Für einen Gerätewechsel fordern Sie auf dem anderen Gerät noch einmal einen Code an.",
            ),
        },
    ),
}
