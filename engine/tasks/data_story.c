/* The story's inventory: people, places, goods and the sentences of a chapter. Names in braces are filled in;
 * every sentence ends with a space, so that a chapter is a plain concatenation. */
#include "tasks/data.h"

static const char *const protagonists[] = {
    "Mirela", "Tobias", "Anselm", "Ingrid", "Kaveh", "Odile", "Rufus", "Sunniva", "Teodor", "Yara",
};

static const char *const characters[] = {
    "Abigail", "Bastian", "Cordelia", "Desmond", "Elspeth", "Fabian", "Greta", "Hamish", "Imogen", "Jasper",
    "Katarina", "Leopold", "Matilda", "Nathaniel", "Ottoline", "Percival", "Quentin", "Rosalind",
    "Sebastian", "Tabitha", "Ulrich", "Verena", "Wilhelm", "Ximena", "Yolanda", "Zachary", "Ambrose",
    "Beatrix", "Clement", "Dorothea", "Edmund", "Frieda", "Gideon", "Harriet", "Ignatius", "Josephine",
    "Konrad", "Lavinia", "Mortimer", "Nerissa", "Oswald", "Philippa", "Reginald", "Seraphina", "Thaddeus",
    "Ursula", "Valentin", "Winifred",
};

static const char *const places[] = {
    "Lisbon", "Tangier", "Valletta", "Genoa", "Bergen", "Riga", "Odessa", "Trieste", "Cadiz", "Marseille",
    "Ghent", "Lubeck", "Visby", "Ragusa", "Smyrna", "Aleppo", "Tripoli", "Tunis", "Palermo", "Naples",
    "Bristol", "Cork", "Dublin", "Leith", "Stavanger", "Malmo", "Danzig", "Stettin", "Bremen", "Antwerp",
    "Calais", "Nantes", "Bilbao", "Porto", "Funchal", "Muscat", "Aden", "Mombasa", "Zanzibar", "Goa",
    "Cochin", "Colombo", "Malacca", "Batavia", "Manila", "Macau", "Nagasaki", "Busan", "Havana",
    "Cartagena", "Veracruz", "Callao", "Valparaiso", "Recife", "Salvador", "Halifax", "Boston",
    "Charleston", "Savannah", "Nassau",
};

static const char *const events[] = {
    "a lantern parade", "a sudden squall", "a quarrel over tariffs", "the launching of a new ship",
    "a wedding procession", "a chess tournament", "the arrival of a foreign envoy", "a fire at the granary",
    "an auction of old maps", "a strike of the dock hands", "a total eclipse", "a race of rowing boats",
    "the return of a lost vessel", "an outbreak of rumours", "a visit from the tax collector",
    "a concert in the square", "the unveiling of a statue", "an argument between two guilds",
    "a shortage of fresh water", "a night of shooting stars",
};

static const char *const item_adjectives[] = {
    "ancient", "painted", "cracked", "silvered", "carved", "hollow", "lacquered", "miniature", "folding",
    "tarnished", "woven", "heavy", "slender", "speckled", "inlaid", "crooked", "gleaming", "faded",
};

static const char *const item_materials[] = {
    "brass", "ebony", "pewter", "walnut", "coral", "glass", "iron", "velvet", "copper", "leather", "bone",
    "granite", "cedar", "pearl", "amber",
};

static const char *const item_kinds[] = {
    "compass", "sextant", "lantern", "flute", "telescope", "chessboard", "inkwell", "hourglass", "casket",
    "whistle", "barometer", "buckle", "goblet", "mirror", "spyglass", "astrolabe", "kettle", "medallion",
    "padlock", "thimble", "violin",
};

static const char *const arrival[] = {
    "The morning tide carried {protagonist} into {place}. ",
    "{protagonist} reached {place} on foot, with dust on both boots. ",
    "By noon the harbour of {place} lay open before {protagonist}. ",
    "A mail coach set {protagonist} down at the edge of {place}. ",
    "It was raining when {protagonist} came to {place}. ",
    "The bells of {place} were ringing as {protagonist} walked through the gate. ",
    "{protagonist} had heard much about {place}, and now stood in the middle of it. ",
    "After three days at sea {protagonist} stepped ashore in {place}. ",
};

static const char *const reason[] = {
    "There were letters to deliver before the week was out. ",
    "A map of this coast was still missing from the collection. ",
    "The rooms here were cheap, and the company was better than most. ",
    "Someone had promised news of an old friend. ",
    "The journey had been long, and a few days of rest seemed wise. ",
    "{protagonist} hoped to settle an old account in this town. ",
    "Nobody had asked for the visit, and nobody had forbidden it. ",
    "A page torn from a diary had pointed to this very street. ",
};

static const char *const event[] = {
    "That same day {event} drew everyone out of doors. ", "The town could speak of nothing but {event}. ",
    "Business was slow because of {event}. ", "Before supper, {event} had changed the mood of the place. ",
    "People would later remember {event} and little else. ",
    "The innkeeper complained at length about {event}. ", "Children ran past, shouting about {event}. ",
    "Because of {event}, every bed in the inn was taken. ",
};

static const char *const meeting[] = {
    "At the fish market {protagonist} met {character}. ",
    "A voice called out across the square, and it belonged to {character}. ",
    "{character} was sitting on the sea wall and made room for {protagonist}. ",
    "In the reading room {protagonist} was introduced to {character}. ",
    "{protagonist} shared a table with {character} that evening. ",
    "The only other guest on the terrace was {character}. ",
    "{character} knocked at the door soon after dark. ",
    "It was {character} who offered to show {protagonist} the way. ",
};

static const char *const talk[] = {
    "They talked about the price of salt and the state of the roads. ",
    "The conversation turned to storms that the old sailors still feared. ",
    "Both agreed that the winter would come early this year. ",
    "They compared what they knew of the islands to the west. ",
    "A long silence followed, and neither of them minded it. ",
    "There was a story about a lighthouse keeper who never slept. ",
    "They argued gently about the best way to bake bread. ",
    "The talk drifted to music, and then to people they had both lost. ",
    "One of them remembered a song, and the other hummed the second part. ",
    "They spoke of ships that had been sold and names that had been changed. ",
    "Much was said about the mayor, and not all of it was kind. ",
    "They counted the masts in the harbour and guessed at their cargoes. ",
    "A question about the stars kept them busy for an hour. ",
    "They laughed at a rumour that had already crossed the sea twice. ",
    "It was hard to say who of the two had travelled further. ",
    "They disagreed about the weather and were both proved wrong. ",
    "Old debts came up, and were put aside again. ",
    "The tea went cold while they followed a line on the chart. ",
    "They wondered aloud why the clock tower had no clock. ",
    "Each of them knew half of the same proverb. ",
    "The wind rattled the shutters, and they lowered their voices. ",
    "Neither of them mentioned the letter that lay on the table. ",
    "They spoke about gardens, and about the patience that gardens need. ",
    "A cat came in, listened for a while, and left again. ",
};

static const char *const buy[] = {
    "After some bargaining {protagonist} bought the {item} from {character}. ",
    "{character} named a fair price, and {protagonist} went away with the {item}. ",
    "For a handful of coins {protagonist} acquired the {item}. ",
    "{protagonist} paid {character} in full and took possession of the {item}. ",
    "The {item} caught the eye of {protagonist}, who purchased it on the spot. ",
    "They shook hands, and the {item} now belonged to {protagonist}. ",
    "{character} wrapped up the {item}, and {protagonist} paid for it. ",
    "{protagonist} could not resist and purchased the {item} from {character}. ",
};

static const char *const sell[] = {
    "In return {protagonist} sold the {item}. ",
    "{protagonist} parted with the {item}, which {character} had admired. ",
    "The {item} was sold to {character} for a good sum. ",
    "{character} was glad to buy the {item} that {protagonist} no longer needed. ",
    "{protagonist} let {character} have the {item} at a modest price. ",
};

static const char *const farewell[] = {
    "They said goodbye at the corner of the street. ", "{character} waved once and was gone. ",
    "{protagonist} thanked {character} and promised to write. ", "They parted without ceremony. ",
    "{character} walked along as far as the bridge. ", "With a short nod {character} went back to work. ",
    "There was no time for a long farewell. ",
    "{protagonist} and {character} wished each other a safe road. ",
};

static const char *const close[] = {
    "The lamps were being lit when the day ended. ", "That night the sea was quiet. ",
    "By morning {protagonist} was on the road again. ", "The journal for that day fills only half a page. ",
    "Sleep did not come easily. ", "A new ticket lay ready on the table. ",
    "{protagonist} left the town by the northern gate. ",
    "Somewhere a door closed, and the chapter with it. ",
};

static const char *const aside[] = {
    "Gulls circled above the roofs. ", "The smell of tar hung in the air. ",
    "A dog barked at nothing in particular. ", "The cobbles shone after the rain. ",
    "Someone was practising scales on a piano. ", "The tide had turned. ",
    "Smoke rose straight from the chimneys. ", "A kite had caught on the weather vane. ",
    "The market stalls were already empty. ", "Far off, a bell buoy answered the waves. ",
};

#define LIST(a) { a, (int)(sizeof a / sizeof *a) }

const struct story_data task_story = {
    .protagonists = LIST(protagonists),
    .characters = LIST(characters),
    .places = LIST(places),
    .events = LIST(events),
    .item_adjectives = LIST(item_adjectives),
    .item_materials = LIST(item_materials),
    .item_kinds = LIST(item_kinds),
    .arrival = LIST(arrival),
    .reason = LIST(reason),
    .event = LIST(event),
    .meeting = LIST(meeting),
    .talk = LIST(talk),
    .buy = LIST(buy),
    .sell = LIST(sell),
    .farewell = LIST(farewell),
    .close = LIST(close),
    .aside = LIST(aside),
};
