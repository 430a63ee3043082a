// Photos to try, each with who made it and under which licence.
import astronaut from './samples/astronaut.jpg';
import chelsea from './samples/chelsea.jpg';
import coffee from './samples/coffee.jpg';
import flower from './samples/flower.jpg';
import hopper from './samples/hopper.jpg';
import rocket from './samples/rocket.jpg';
import astronautSmall from './samples/small/astronaut.webp';
import chelseaSmall from './samples/small/chelsea.webp';
import coffeeSmall from './samples/small/coffee.webp';
import flowerSmall from './samples/small/flower.webp';
import hopperSmall from './samples/small/hopper.webp';
import rocketSmall from './samples/small/rocket.webp';
import templeSmall from './samples/small/temple.webp';
import temple from './samples/temple.jpg';

const BY = 'https://creativecommons.org/licenses/by/2.0/';
const CC0 = 'https://creativecommons.org/publicdomain/zero/1.0/';

export const SAMPLES = [
  { url: chelsea, small: chelseaSmall, name: 'Cat', credit: 'Stéfan van der Walt, CC0', link: CC0 },
  { url: coffee, small: coffeeSmall, name: 'Coffee', credit: 'Rachel Michetti, CC0', link: CC0 },
  { url: rocket, small: rocketSmall, name: 'Rocket', credit: 'SpaceX, CC0', link: 'https://www.flickr.com/photos/spacex/16511594820/' },
  { url: temple, small: templeSmall, name: 'Temple', credit: 'danielbuechele, CC BY 2.0, scaled', link: BY },
  { url: flower, small: flowerSmall, name: 'Flower', credit: 'vultilion, CC BY 2.0, scaled', link: BY },
  { url: astronaut, small: astronautSmall, name: 'Astronaut', credit: 'NASA, public domain', link: 'https://www.nasa.gov/nasa-brand-center/images-and-media/' },
  {
    url: hopper,
    small: hopperSmall,
    name: 'Admiral',
    credit: 'James S. Davis, US Navy, public domain',
    link: 'https://commons.wikimedia.org/wiki/File:Commodore_Grace_M._Hopper,_USN_(covered).jpg',
  },
];
