"""Words for what the grammar leaves to its user: rooms, devices, things to buy."""

WORDS = {
    "area": (
        "living room|kitchen|bedroom|bathroom|hallway|garage|office|attic|basement"
        "|dining room|guest room|laundry room|nursery|study|terrace"
    ),
    "floor": "ground|first|second|top|upper|lower|main|third",
    "name": (
        "ceiling lamp|desk lamp|floor lamp|front door|back door|coffee machine|heater"
        "|fan|television|speaker|garage door|curtain|thermostat|humidifier|robot"
        "|night light|kettle|radio|gate|sprinkler"
    ),
    "message": "dinner is ready|we are leaving|come downstairs please|good night",
    "search_query": (
        "jazz|the beatles|classical piano|morning news|abbey road|relaxing rain"
        "|miles davis|summer hits"
    ),
    "zone": "home|work|school|the gym|the office|the station",
    "timer_name": "pizza|pasta|laundry|tea|egg|homework|workout|rice",
    "timer_command": "turn off the oven|open the blinds|lock the door|stop the music",
    "shopping_list_item": "milk|brown bread|apples|olive oil|rice|green tea|eggs",
    "todo_list_item": (
        "call the dentist|water the plants|pay the rent|clean the windows|book flights"
    ),
}
